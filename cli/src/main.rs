//! `colibri`: see the library.

fn main() -> std::process::ExitCode {
    colibri_cli::main()
}
