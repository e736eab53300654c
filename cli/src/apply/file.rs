//! The file of `apply` and `export`: tenants by name or by a pattern of names, each
//! with the settings that register-tenant takes, spelled as its options are.

use super::hidden;
use crate::arguments::{action, renaming, seconds};
use crate::screen::interval;
use colibri_control::{Registration, Registrations, changes};
use colibri_tenant::{FileSettings, OnChange, Settings, TenantId};
use glob::{MatchOptions, Pattern};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The one key that is no setting of a tenant.
const ROOT: &str = "root";
/// What stands for the tenant's name.
const NAME: &str = "${name}";
/// A name begins with a dot only if that is said.
const MATCHING: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Why a file cannot be applied.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is no TOML, or has tables that mean nothing: where, and why. The line itself is
    /// not shown, since it may be one of another file, such as that of the credentials.
    #[error("line {0}: {1}")]
    Toml(usize, String),
    /// A table is wrong.
    #[error("[tenant.{0:?}]: {1}")]
    Tenant(String, String),
    /// The table of all tenants is wrong.
    #[error("[defaults]: {0}")]
    Defaults(String),
}

type Settled = Map<String, Value>;

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    #[serde(default)]
    defaults: Settled,
    #[serde(default)]
    tenant: BTreeMap<String, Settled>,
}

/// What it asks for on this host.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Tenants, those of patterns among them.
    pub tenants: Registrations,
    /// Its patterns, each with how many tenants it gave.
    pub patterns: Vec<(Pattern, usize)>,
}

impl Wanted {
    /// Whether the name is one that a pattern is for.
    pub fn is_of_a_pattern(&self, id: &TenantId) -> bool {
        self.patterns.iter().any(|(pattern, _)| pattern.matches_with(id.as_str(), MATCHING))
    }
}

impl File {
    /// Reads it.
    ///
    /// # Errors
    /// `Toml`.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().map_or(0, |span| span.start);
            let lines = text.bytes().take(before).filter(|byte| *byte == b'\n').count();
            FileError::Toml(lines + 1, error.message().to_owned())
        })
    }

    /// The tenants that it asks for; `names` lists a directory.
    ///
    /// # Errors
    /// `Defaults` or `Tenant`, for the first table that is wrong.
    pub fn wanted(&self, names: impl Fn(&Path) -> std::io::Result<Vec<String>>) -> Result<Wanted, FileError> {
        // First, since a slip of the hand in a name is why another is not set.
        known(&self.defaults).map_err(FileError::Defaults)?;
        for (key, table) in &self.tenant {
            known(table).map_err(|why| FileError::Tenant(key.clone(), why))?;
        }
        let mut wanted = Wanted::default();
        let mut from = BTreeMap::new();
        for (key, table) in self.tenant.iter().filter(|(key, _)| is_pattern(key)) {
            let wrong = |why: String| FileError::Tenant(key.clone(), why);
            let pattern = Pattern::new(key).map_err(|error| wrong(error.to_string()))?;
            let found = self.expand(&pattern, table, &names).map_err(wrong)?;
            for id in &found {
                if let Some(other) = from.insert(id.clone(), key) {
                    return Err(wrong(format!("{other:?} matches {id} too: let one of them match")));
                }
            }
            wanted.patterns.push((pattern, found.len()));
        }
        let named = self.tenant.keys().filter(|key| !is_pattern(key)).map(|key| {
            key.parse::<TenantId>().map_err(|error| FileError::Tenant(key.clone(), error.to_string()))
        });
        let named: Vec<_> = named.collect::<Result<_, _>>()?;
        for id in from.keys().chain(&named) {
            let tables = from.get(id).and_then(|key| self.tenant.get(*key));
            let tables = tables.into_iter().chain(self.tenant.get(id.as_str()));
            let one = self.registration(id, tables);
            let one = one.map_err(|why| FileError::Tenant(id.to_string(), why))?;
            wanted.tenants.insert(id.clone(), one);
        }
        Ok(wanted)
    }

    /// Names of directories at the place of `${name}` in the root, that have a root.
    fn expand(
        &self,
        pattern: &Pattern,
        table: &Settled,
        names: impl Fn(&Path) -> std::io::Result<Vec<String>>,
    ) -> Result<Vec<TenantId>, String> {
        let root = table.get("root").or(self.defaults.get("root")).and_then(Value::as_str);
        let root = Path::new(root.ok_or("root is not set")?);
        let dirs: PathBuf = root.iter().take_while(|part| *part != NAME).collect();
        if dirs == root {
            return Err(format!("a pattern needs a root with a directory {NAME} in it"));
        }
        let below = root.strip_prefix(dirs.join(NAME)).map_err(|error| error.to_string())?;
        let all = names(&dirs).map_err(|error| format!("cannot list {}: {error}", dirs.display()))?;
        let fitting = all.into_iter().filter(|name| pattern.matches_with(name, MATCHING));
        let there = fitting.filter(|name| dirs.join(name).join(below).is_dir());
        let mut ids: Vec<TenantId> = there.filter_map(|name| name.parse().ok()).collect();
        // File systems list them in an order of their own.
        ids.sort();
        Ok(ids)
    }

    fn registration<'a>(
        &'a self,
        id: &TenantId,
        tables: impl Iterator<Item = &'a Settled>,
    ) -> Result<Registration, String> {
        let mut merged = self.defaults.clone();
        tables.for_each(|table| merged.extend(table.clone()));
        for (setting, value) in &mut merged {
            fill(value, id.as_str());
            let named = |why: String| format!("{setting}: {why}");
            *value = spelled(setting, value.take()).map_err(named)?;
            if setting != ROOT {
                // Each by itself, since serde names none.
                let one = json!({ setting.as_str(): value.clone() });
                serde_json::from_value::<Settings>(one).map_err(|error| named(error.to_string()))?;
            }
        }
        let root = merged.remove(ROOT).ok_or("root is not set")?;
        let root = PathBuf::from(root.as_str().ok_or("root is not a path")?);
        if !root.is_absolute() {
            return Err(format!("root: {} is not absolute", root.display()));
        }
        let settings = serde_json::from_value(Value::Object(merged)).map_err(|error| error.to_string())?;
        Ok(Registration { root, settings })
    }
}

/// Whether all of its names are those of settings.
fn known(table: &Settled) -> Result<(), String> {
    let none = json!(Settings::default());
    match table.keys().find(|name| *name != ROOT && none.get(name.as_str()).is_none()) {
        Some(name) => {
            Err(format!("there is no setting {name:?}; `colibri help register-tenant` has them all"))
        }
        None => Ok(()),
    }
}

fn is_pattern(key: &str) -> bool {
    key.contains(['*', '?', '['])
}

/// Puts the name in; `$${name}` is `${name}` itself.
fn fill(value: &mut Value, name: &str) {
    match value {
        Value::String(text) if text.contains(NAME) => {
            let mut filled = String::new();
            let mut rest = text.as_str();
            while let Some((before, after)) = rest.split_once(NAME) {
                match before.strip_suffix('$') {
                    Some(before) => filled.extend([before, NAME]),
                    None => filled.extend([before, name]),
                }
                rest = after;
            }
            *text = filled + rest;
        }
        Value::Array(values) => values.iter_mut().for_each(|value| fill(value, name)),
        Value::Object(values) => values.values_mut().for_each(|value| fill(value, name)),
        _ => {}
    }
}

/// A value as the protocol has it, where the command line has another form.
fn spelled(setting: &str, value: Value) -> Result<Value, String> {
    Ok(match (setting, value) {
        ("refresh" | "deadline", Value::String(text)) => json!(seconds(&text)?),
        ("on-change", Value::String(text)) => json!(action(&text)?),
        ("files", Value::Object(files)) => {
            let one = |(path, file): (String, Value)| {
                let own = match file {
                    Value::Object(own) => own,
                    _ => return Err(format!("{path:?} is no table of a file's settings")),
                };
                let own = own.into_iter().map(|(name, value)| Ok((name.clone(), spelled(&name, value)?)));
                let own: Map<_, _> =
                    own.collect::<Result<_, String>>().map_err(|why| format!("{path:?}: {why}"))?;
                Ok((path, Value::Object(own)))
            };
            Value::Object(files.into_iter().map(one).collect::<Result<_, String>>()?)
        }
        ("rename", Value::Array(all)) => {
            let one = |value: Value| match value {
                Value::String(text) => renaming(&text).map(|pair| json!(pair)),
                other => Ok(other),
            };
            Value::Array(all.into_iter().map(one).collect::<Result<_, String>>()?)
        }
        (_, value) => value,
    })
}

/// The tenants as such a file, which asks for just them.
///
/// # Errors
/// When a setting has no form in TOML.
pub fn text(tenants: &Registrations) -> Result<String, toml::ser::Error> {
    let tables = tenants.iter().map(|(id, one)| (id.to_string(), table(one)));
    let tables: Map<_, _> = tables.collect();
    let (value, strings) = hidden::taken(json!({ "tenant": tables }));
    Ok(hidden::put(toml::to_string(&value)?, &strings))
}

fn table(one: &Registration) -> Value {
    let mut settings = changes(&one.settings, &Settings::default());
    if let Some(Value::Object(files)) = settings.get_mut("files") {
        files.values_mut().for_each(bare);
    }
    settings.insert("root".into(), json!(one.root));
    for (setting, value) in &mut settings {
        escape(value);
        match (setting.as_str(), &*value) {
            ("refresh" | "deadline", Value::Number(number)) => {
                let span = number.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
                // 0 is no span of the command line.
                *value = span.filter(|span| *span > 0).map_or(json!(number), |span| json!(interval(span)));
            }
            ("rename", Value::Array(pairs)) => {
                *value = pairs.iter().map(|pair| joined(pair).unwrap_or_else(|| pair.clone())).collect();
            }
            _ => {}
        }
    }
    match &one.settings.on_change {
        OnChange::Signal(name) => drop(settings.insert("on-change".into(), json!(format!("signal:{name}")))),
        OnChange::Action(name) => drop(settings.insert("on-change".into(), json!(format!("action:{name}")))),
        OnChange::None | OnChange::RestartAgent | OnChange::Command(_) => {}
    }
    Value::Object(settings)
}

/// A file's settings without those that have their default, with its action as the
/// command line spells it.
fn bare(file: &mut Value) {
    let none = json!(FileSettings::default());
    let Value::Object(settings) = file else { return };
    settings.retain(|name, value| none.get(name) != Some(value));
    if let Some(action) = settings.get_mut("on-change") {
        let word = |kind: &str| action.get(kind).and_then(Value::as_str).map(|it| format!("{kind}:{it}"));
        if let Some(spelled) = word("signal").or_else(|| word("action")) {
            *action = json!(spelled);
        }
    }
}

fn joined(pair: &Value) -> Option<Value> {
    let (old, new) = (pair.get(0)?.as_str()?, pair.get(1)?.as_str()?);
    let plain = !old.is_empty() && !old.contains('=') && !new.is_empty();
    plain.then(|| json!(format!("{old}={new}")))
}

fn escape(value: &mut Value) {
    match value {
        Value::String(text) => *text = text.replace(NAME, &format!("${NAME}")),
        Value::Array(values) => values.iter_mut().for_each(escape),
        Value::Object(values) => values.values_mut().for_each(escape),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use colibri_tenant::{AgentNetwork, Format, KeyCase};
    use proptest::prelude::*;

    fn nowhere(_: &Path) -> std::io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn wanted(text: &str) -> Result<Registrations, String> {
        let file = File::parse(text).map_err(|error| error.to_string())?;
        file.wanted(nowhere).map(|wanted| wanted.tenants).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_are_spelled_as_on_the_command_line() {
        let all = wanted(
            r#"
            [defaults]
            root = "/jails/${name}/root"
            refresh = "15m"
            [tenant.web01]
            collection = "prod-${name}"
            on-change = "signal:HUP"
            rename = ["A=B"]
            format = "json"
            only = ["A*", "$${name}"]
            [tenant.db01]
            root = "/data/db"
            refresh = 0
            on-change = { command = ["/bin/sh", "-c", "a b"] }
        "#,
        );
        let all = all.unwrap();
        let web = &all[&"web01".parse().unwrap()];
        assert_eq!(web.root, Path::new("/jails/web01/root"));
        let settings = Settings {
            collection: Some("prod-web01".parse().unwrap()),
            refresh: 900,
            on_change: OnChange::Signal("HUP".into()),
            rename: vec![("A".into(), "B".into())],
            format: Format::Json,
            only: vec!["A*".into(), "${name}".into()],
            ..Settings::default()
        };
        assert_eq!(web.settings, settings);
        let db = &all[&"db01".parse().unwrap()];
        assert_eq!((db.root.as_path(), db.settings.refresh), (Path::new("/data/db"), 0));
        assert_eq!(
            db.settings.on_change,
            OnChange::Command(vec!["/bin/sh".into(), "-c".into(), "a b".into()])
        );
    }

    #[test]
    fn what_means_nothing_is_refused_by_its_table() {
        for (text, said) in [
            ("[tenants.web01]\nroot = '/j'", "tenants"),
            ("[tenant.web01]\n", r#"[tenant."web01"]: root is not set"#),
            ("[tenant.web01]\nroot = 'j'", "j is not absolute"),
            ("[tenant.web01]\nroot = '/j'\nfefresh = 1", r#"there is no setting "fefresh""#),
            ("[tenant.web01]\nrooot = '/j'", r#"[tenant."web01"]: there is no setting "rooot""#),
            ("defaults.rooot = '/j'\n[tenant.'web*']", r#"[defaults]: there is no setting "rooot""#),
            ("[tenant.web01]\nroot = '/j'\nexpect = 'A'", "expect: invalid type"),
            ("[tenant.web01]\nroot = '/j'\nformat = 'yaml'", "format: unknown variant"),
            ("[tenant.web01]\nroot = '/j'\nrefresh = 'soon'", "refresh: not a time"),
            ("[tenant.web01]\nroot = '/j'\ncollection = 1", "invalid type"),
            ("[tenant.'a/b']\nroot = '/j'", r#"[tenant."a/b"]: the name has a character"#),
            ("[tenant.'web*']\nroot = '/j'", "a pattern needs a root with a directory ${name}"),
            ("[tenant.'web*']\nroot = '/j-${name}/root'", "a pattern needs"),
            ("[tenant.'[']\nroot = '/${name}'", "[tenant.\"[\"]"),
            ("[tenant.web01\n", "line 1: "),
            ("# mine\nBW_SERVER='https://v'\nBW_CLIENTSECRET=hunter2\n", "line 3: "),
            ("BW_PASSWORD='hunter2'\n", "line 1: unknown field `BW_PASSWORD`"),
        ] {
            let error = wanted(text).unwrap_err();
            assert!(error.contains(said) && !error.contains("hunter2"), "{text}: {error}");
        }
    }

    #[test]
    fn a_pattern_is_for_each_directory_that_has_a_root() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        for name in ["web01/root", "web02/root", "web.cache", "db01/root", "web03", "web 4/root", ".web/root"]
        {
            std::fs::create_dir_all(base.join(name)).unwrap();
        }
        let list = |at: &Path| {
            let names = std::fs::read_dir(at)?.map(|it| it.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<_> = names.collect();
            // No order that is expected of it.
            names.sort();
            names.reverse();
            Ok(names)
        };
        let text = |tables: &str| format!("defaults.root = '{}/${{name}}/root'\n{tables}", base.display());
        let file =
            File::parse(&text("[tenant.'web*']\nrefresh = '1h'\n[tenant.web02]\nfields = true")).unwrap();
        let found = file.wanted(list).unwrap();
        let seen: Vec<_> = found
            .tenants
            .iter()
            .map(|(id, one)| (id.as_str(), one.settings.refresh, one.settings.fields))
            .collect();
        assert_eq!(seen, [("web01", 3600, false), ("web02", 3600, true)]);
        assert_eq!(found.patterns[0].1, 2);
        assert!(found.is_of_a_pattern(&"web03".parse().unwrap()));
        assert!(!found.is_of_a_pattern(&"db01".parse().unwrap()));
        let both = File::parse(&text("[tenant.'web*']\n[tenant.'*']")).unwrap().wanted(list).unwrap_err();
        assert!(both.to_string().contains("matches web01 too"), "{both}");
    }

    fn settings() -> impl Strategy<Value = Settings> {
        let text = || "[ -~é\u{2028}]{0,8}|\\$*\\$\\{name\\}";
        let on_change = prop_oneof![
            Just(OnChange::None),
            Just(OnChange::RestartAgent),
            "[A-Z]{1,4}".prop_map(OnChange::Signal),
            "[a-z]{1,4}".prop_map(OnChange::Action),
            proptest::collection::vec(text(), 0..3).prop_map(OnChange::Command),
        ];
        let rename = proptest::collection::vec((text(), text()), 0..3);
        let list = || proptest::collection::vec(text(), 0..3);
        let file = (
            text(),
            proptest::option::of("[ -~]{1,9}"),
            proptest::option::of(Just(OnChange::Signal("HUP".into()))),
        )
            .prop_map(|(only, item, on_change)| FileSettings {
                only: vec![only],
                item,
                on_change,
                ..FileSettings::default()
            });
        let files =
            proptest::collection::btree_map("[a-c]{1,2}/[${}a-c. ]{1,3}x", file, 0..3).prop_map(|all| {
                all.into_iter().filter_map(|(path, file)| Some((path.parse().ok()?, file))).collect()
            });
        let odd = (any::<u32>(), proptest::option::of(any::<u32>()), any::<bool>());
        (on_change, rename, list(), list(), text(), odd, proptest::option::of("[ -~]{1,9}"), files).prop_map(
            |(on_change, rename, only, expect, prefix, (refresh, deadline, fields), collection, files)| {
                Settings {
                    files,
                    collection: collection.map(|name| name.parse().unwrap()),
                    dir: Some("a/${name}".into()),
                    key_case: KeyCase::Keep,
                    agent_network: AgentNetwork::None,
                    on_change,
                    rename,
                    only,
                    expect,
                    prefix,
                    refresh,
                    deadline,
                    fields,
                    ..Settings::default()
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_exported_is_what_is_applied(settings in settings()) {
            let root = PathBuf::from("/jails/${name}/$${name}/root");
            let one = Registration { root, settings };
            let all: Registrations = [("a".parse().unwrap(), one)].into();
            let text = text(&all).unwrap();
            prop_assert_eq!(wanted(&text).map_err(|why| format!("{why}\n{text}")), Ok(all));
        }
    }
}
