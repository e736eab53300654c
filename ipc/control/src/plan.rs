//! From the tenants that are and those that shall be to the steps between. Pure: the
//! same both ways give the same steps, whoever takes them.

use colibri_tenant::{Settings, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A tenant as an operator registers it; what is left out has its default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Its jail's root.
    pub root: PathBuf,
    /// Its settings, none of them filled in.
    pub settings: Settings,
}

/// Tenants by name.
pub type Registrations = BTreeMap<TenantId, Registration>;

/// What is done with a tenant that is and is not wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwanted {
    /// It stays: not to be named is not to be removed.
    Stays,
    /// It is removed.
    Goes,
}

/// One step. Each tenant has one at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// It is there, and shall not be.
    Remove {
        /// Which.
        tenant: TenantId,
    },
    /// It is there, and shall be otherwise.
    Update {
        /// Which.
        tenant: TenantId,
        /// Its new root, if that is another.
        root: Option<PathBuf>,
        /// A merge patch over its settings.
        changes: Map<String, Value>,
    },
    /// It shall be there.
    Register {
        /// Which.
        tenant: TenantId,
        /// How.
        registration: Box<Registration>,
    },
}

impl Step {
    /// Whose step it is.
    pub const fn tenant(&self) -> &TenantId {
        match self {
            Self::Remove { tenant } | Self::Update { tenant, .. } | Self::Register { tenant, .. } => tenant,
        }
    }
}

/// The steps, in the order in which they are to be taken: what goes frees roots for
/// what comes. What is as it shall be has none.
pub fn plan(wanted: &Registrations, actual: &Registrations, unwanted: Unwanted) -> Vec<Step> {
    let remove = actual.keys().filter(|id| unwanted == Unwanted::Goes && !wanted.contains_key(id));
    let remove = remove.map(|id| Step::Remove { tenant: id.clone() });
    let update = wanted.iter().filter_map(|(id, shall)| update(id, shall, actual.get(id)?, unwanted));
    let register = wanted.iter().filter(|(id, _)| !actual.contains_key(id)).map(|(id, registration)| {
        Step::Register { tenant: id.clone(), registration: Box::new(registration.clone()) }
    });
    remove.chain(update).chain(register).collect()
}

fn update(id: &TenantId, shall: &Registration, is: &Registration, unwanted: Unwanted) -> Option<Step> {
    let root = (shall.root != is.root).then(|| shall.root.clone());
    let mut settings = shall.settings.clone();
    // A further file that is not named is a tenant's as an unnamed tenant is the host's.
    if unwanted == Unwanted::Stays {
        let more = is.settings.files.iter().filter(|(path, _)| !shall.settings.files.contains_key(path));
        settings.files.extend(more.map(|(path, file)| (path.clone(), file.clone())));
    }
    let changes = changes(&settings, &is.settings);
    (root.is_some() || !changes.is_empty()).then(|| Step::Update { tenant: id.clone(), root, changes })
}

/// The merge patch (RFC 7396) that makes `is` what it shall be: `null` brings a
/// default back.
pub fn changes(shall: &Settings, is: &Settings) -> Map<String, Value> {
    let is = fields(is);
    fields(shall).into_iter().filter(|(name, value)| is.get(name) != Some(value)).collect()
}

/// Settings are an object, each of its fields there.
fn fields(settings: &Settings) -> Map<String, Value> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => fields,
        // A path that is not UTF-8, which no settings that were read can have.
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use colibri_tenant::{CollectionName, Format, OnChange};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn settings() -> impl Strategy<Value = Settings> {
        let collection = proptest::option::of("[a-c]{1,2}");
        let on_change = prop_oneof![
            Just(OnChange::None),
            Just(OnChange::RestartAgent),
            Just(OnChange::Action("nginx".into())),
            Just(OnChange::Command(vec!["/bin/sh".into(), "-c".into(), "a b".into()])),
        ];
        let format = prop_oneof![Just(Format::Env), Just(Format::Json)];
        let expect = proptest::collection::vec("[A-C]", 0..2);
        (collection, 0_u32..3, on_change, format, expect, proptest::option::of(1_u32..3)).prop_map(
            |(collection, refresh, on_change, format, expect, deadline)| Settings {
                collection: collection.map(|name| CollectionName::try_from(name).unwrap()),
                refresh,
                on_change,
                format,
                expect,
                deadline,
                ..Settings::default()
            },
        )
    }

    fn registrations() -> impl Strategy<Value = Registrations> {
        let one = (0_u8..4, settings())
            .prop_map(|(root, settings)| Registration { root: format!("/jails/{root}").into(), settings });
        proptest::collection::btree_map("[a-f]", one, 0..6)
            .prop_map(|all| all.into_iter().map(|(id, one)| (id.parse().unwrap(), one)).collect())
    }

    /// What the daemon does with a step.
    fn taken(mut actual: Registrations, steps: &[Step]) -> Registrations {
        for step in steps {
            match step.clone() {
                Step::Remove { tenant } => drop(actual.remove(&tenant).unwrap()),
                Step::Update { tenant, root, changes } => {
                    let one = actual.get_mut(&tenant).unwrap();
                    one.root = root.unwrap_or_else(|| one.root.clone());
                    let mut merged = fields(&one.settings);
                    for (name, value) in changes {
                        match value {
                            Value::Null => merged.remove(&name),
                            value => merged.insert(name, value),
                        };
                    }
                    one.settings = serde_json::from_value(Value::Object(merged)).unwrap();
                }
                Step::Register { tenant, registration } => {
                    assert!(actual.insert(tenant, *registration).is_none());
                }
            }
        }
        actual
    }

    /// A file that was added after the list was written is somebody's TLS key.
    #[test]
    fn a_further_file_that_is_not_named_stays_unless_what_is_not_named_goes() {
        let of = |files: Value| {
            let settings = serde_json::from_value(serde_json::json!({ "files": files })).unwrap();
            let id: TenantId = "web".parse().unwrap();
            Registrations::from([(id, Registration { root: "/web".into(), settings })])
        };
        let actual = of(serde_json::json!({ "etc/a": {}, "etc/b": { "mode": "0640" } }));
        let wanted = of(serde_json::json!({ "etc/a": { "mode": "0440" } }));
        let left = |unwanted| {
            let then = taken(actual.clone(), &plan(&wanted, &actual, unwanted));
            let files = &then.values().next().unwrap().settings.files;
            files.iter().map(|(path, file)| format!("{path} {:?}", file.mode)).collect::<Vec<_>>()
        };
        let (kept, gone) = (left(Unwanted::Stays), left(Unwanted::Goes));
        assert_eq!((kept.len(), gone.len()), (2, 1));
        assert_eq!(kept[0], gone[0], "what is named is changed either way");
        assert!(plan(&of(Value::Object(Map::new())), &actual, Unwanted::Stays).is_empty());
    }

    proptest! {
        #[test]
        fn with_what_goes_the_steps_lead_to_just_what_is_wanted(
            wanted in registrations(),
            actual in registrations(),
        ) {
            let steps = plan(&wanted, &actual, Unwanted::Goes);
            prop_assert_eq!(taken(actual, &steps), wanted);
        }

        #[test]
        fn without_it_nothing_is_removed_and_what_is_not_named_stays_as_it_is(
            wanted in registrations(),
            actual in registrations(),
        ) {
            let steps = plan(&wanted, &actual, Unwanted::Stays);
            let no_removal = steps.iter().all(|step| !matches!(step, Step::Remove { .. }));
            prop_assert!(no_removal);
            let mut both = actual.clone();
            both.extend(wanted.clone());
            prop_assert_eq!(taken(actual, &steps), both);
        }

        #[test]
        fn a_plan_that_was_carried_out_leaves_nothing_to_do(
            wanted in registrations(),
            actual in registrations(),
        ) {
            for unwanted in [Unwanted::Stays, Unwanted::Goes] {
                let steps = plan(&wanted, &actual, unwanted);
                let then = taken(actual.clone(), &steps);
                prop_assert_eq!(plan(&wanted, &then, unwanted), vec![]);
            }
        }

        #[test]
        fn each_tenant_has_one_step_at_most_and_only_where_something_differs(
            wanted in registrations(),
            actual in registrations(),
        ) {
            let steps = plan(&wanted, &actual, Unwanted::Goes);
            let whose: BTreeSet<_> = steps.iter().map(Step::tenant).collect();
            prop_assert_eq!(whose.len(), steps.len());
            for id in whose {
                prop_assert!(wanted.get(id) != actual.get(id));
            }
        }
    }
}
