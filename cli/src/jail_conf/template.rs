//! Where in an AppJail template the hook's line belongs: a parameter in each line, `:`
//! for `=` and `+:` for `+=`. AppJail makes a jail.conf(5) of it when it starts a jail.

use super::edit::{Edit, OURS, PARAMETER};

/// The line: AppJail hands name and path on to jail(8), which puts them in.
pub fn line(program: &str) -> String {
    format!(r#"exec.created+: "{program} hook ${{name}} ${{path}} || true""#)
}

/// Puts the line in the place of one of ours, or at the end.
pub fn edit(text: &str, line: &str) -> Edit {
    let value =
        |found: &str| found.trim_start().strip_prefix(PARAMETER).map(|value| value.trim_start().to_owned());
    let is_ours = |found: &str| value(found).is_some() && found.contains(OURS);
    // What `:` sets anew takes the lines before it away.
    let is_anew = |found: &str| value(found).is_some_and(|value| value.starts_with(':')) && !is_ours(found);
    let mut lines: Vec<_> = text.lines().collect();
    let first = lines.iter().position(|found| is_ours(found)).unwrap_or(lines.len());
    let overruled = lines.iter().skip(first).any(|found| is_anew(found));
    lines.retain(|found| !is_ours(found));
    lines.insert(if overruled { lines.len() } else { first }, line);
    let edited = lines.join("\n") + "\n";
    if edited == text { Edit::Stays } else { Edit::Changed(edited) }
}

#[cfg(test)]
mod tests {
    use super::{edit as put, *};

    const LINE: &str = r#"exec.created+: "/usr/local/bin/colibri hook ${name} ${path} || true""#;

    fn edit(text: &str) -> Edit {
        put(text, &line("/usr/local/bin/colibri"))
    }

    #[test]
    fn the_line_is_put_once_and_others_of_its_parameter_stay() {
        let text = "exec.start: \"/bin/sh /etc/rc\"\nexec.created+: \"appjail limits on ${name}\"";
        let wanted = format!("{text}\n{LINE}\n");
        assert_eq!(edit(text), Edit::Changed(wanted.clone()));
        assert_eq!(edit(&wanted), Edit::Stays);
        let old = "exec.created: \"/usr/local/bin/colibri hook web01 /old || true\"\nvnet\n";
        let old = format!("{old}exec.created+: \"colibri hook ${{name}}\"\n# exec.created: colibri hook\n");
        let wanted = format!("{LINE}\nvnet\n# exec.created: colibri hook\n");
        assert_eq!(edit(&old), Edit::Changed(wanted));
        let later = "exec.created: \"appjail limits on ${name}\"\n";
        let wanted = format!("vnet\n{later}{LINE}\n");
        assert_eq!(edit(&format!("vnet\n{LINE}\n{later}")), Edit::Changed(wanted.clone()));
        assert_eq!(edit(&wanted), Edit::Stays);
        assert_eq!(edit(""), Edit::Changed(format!("{LINE}\n")));
    }
}
