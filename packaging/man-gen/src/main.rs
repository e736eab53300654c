//! Writes the pages into `packaging/man`; to be run when a flag has changed.

fn main() -> std::io::Result<()> {
    for page in colibri_man_gen::pages()? {
        std::fs::write(colibri_man_gen::directory().join(page.name), page.text)?;
    }
    Ok(())
}
