//! Laws of the rendering, for any values.
#![cfg(test)]

use colibri_envfile::{Document, HEADER, agreed};
use colibri_pair::{EnvKey, Format};
use colibri_readers::{NOTE, key, render};
use proptest::prelude::*;

fn value() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[ -~]{0,40}", "['\"\\\\$`{}# \\n\\r=a]{0,12}"]
}

fn values() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(value(), 0..8)
}

fn format() -> impl Strategy<Value = Format> {
    prop::sample::select(Format::ALL)
}

fn pairs(values: &[String]) -> Vec<(EnvKey, &str)> {
    values.iter().enumerate().map(|(number, value)| (key(number).unwrap(), &**value)).collect()
}

fn header(format: Format) -> String {
    match format {
        Format::Env | Format::Dotenv | Format::Docker => format!("{HEADER}{NOTE}"),
        Format::Json | Format::Dir | Format::Raw => String::new(),
    }
}

/// Most bytes of one value's line: each byte escaped as JSON's `\u0000` is, and
/// the key, quotes, separators and indentation around it.
fn most(value: &str) -> usize {
    6 * value.len() + 16 + "V000000".len()
}

proptest! {
    #[test]
    fn the_same_pairs_make_the_same_file(format in format(), values in values()) {
        prop_assert_eq!(render(format, &pairs(&values)), render(format, &pairs(&values)));
    }

    /// With the order of keys that the pair's protocol demands, the file does not
    /// depend on the order of the vault's answer.
    #[test]
    fn the_line_of_a_pair_does_not_depend_on_the_pairs_around_it(format in format(), values in values()) {
        prop_assume!(format != Format::Json);
        let alone = |pair: &(EnvKey, &str)| {
            let file = render(format, std::slice::from_ref(pair));
            file.map(|file| file.strip_prefix(&*header(format)).unwrap().to_owned())
        };
        let lines: Result<String, _> = pairs(&values).iter().map(alone).collect();
        prop_assert_eq!(render(format, &pairs(&values)), lines.map(|lines| header(format) + &lines));
    }

    #[test]
    fn the_size_is_bounded_by_the_values(format in format(), values in values()) {
        if let Ok(file) = render(format, &pairs(&values)) {
            let bound = HEADER.len() + NOTE.len() + values.iter().map(|value| most(value)).sum::<usize>();
            prop_assert!(file.len() <= bound, "{} of {bound}", file.len());
        }
    }

    #[test]
    fn a_refused_value_adds_nothing(format in format(), value in value()) {
        let refused = render(format, &[(key(0).unwrap(), &value)]).is_err();
        let mut document = Document::new(format);
        prop_assert_eq!(document.push(key(0).unwrap(), &value).is_err(), refused);
        prop_assert_eq!(document.keys() == 0, refused);
    }

    #[test]
    fn dotenv_is_env_for_the_agreed_values_and_refuses_the_others(value in value()) {
        let pair = [(key(0).unwrap(), &*value)];
        match render(Format::Dotenv, &pair) {
            Ok(file) => {
                prop_assert!(agreed(&value));
                prop_assert_eq!(Ok(file), render(Format::Env, &pair));
            }
            Err(_) => prop_assert!(!agreed(&value)),
        }
    }

    #[test]
    fn the_formats_that_a_refusal_names_are_those_that_carry_the_value(format in format(), value in value()) {
        let pair = [(key(0).unwrap(), &*value)];
        if let Err(refusal) = render(format, &pair) {
            let several = Format::ALL.iter().filter(|format| **format != Format::Raw);
            let able = several.filter(|format| render(**format, &pair).is_ok());
            prop_assert_eq!(refusal.able, able.map(|format| format.as_str()).collect::<Vec<_>>());
        }
    }
}
