//! Which parts of an item are stored: `bw` lists what it cannot decrypt, or must not
//! show, as if it were not there.

use crate::answer::{Anything, Item, Login, SshKey, nullable};
use crate::warnings::quoted;
use colibri_pair::Secret;
use colibri_session::{Failure, Rules};
use colibri_tenant::ErrorName::CollectionUnreadable;
use serde::{Deserialize, Deserializer, Serialize};

/// The parts that there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// 2 is a secure note.
    pub kind: u32,
    /// Whether the account may see passwords.
    pub view_password: Option<bool>,
    /// Its text.
    pub notes: bool,
    /// Those of a login.
    pub login: LoginParts,
    /// Those of an SSH key.
    pub ssh_key: SshKeyParts,
    /// Those of each custom field.
    pub fields: Vec<FieldParts>,
}

/// Which parts of a login there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct LoginParts {
    #[serde(deserialize_with = "there")]
    username: bool,
    #[serde(deserialize_with = "there")]
    password: bool,
    #[serde(deserialize_with = "there")]
    totp: bool,
}

/// Which parts of an SSH key there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SshKeyParts {
    #[serde(deserialize_with = "there")]
    private_key: bool,
    #[serde(deserialize_with = "there")]
    public_key: bool,
    #[serde(deserialize_with = "there")]
    key_fingerprint: bool,
}

/// Which parts of a custom field there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct FieldParts {
    #[serde(deserialize_with = "there")]
    name: bool,
    #[serde(deserialize_with = "there")]
    value: bool,
}

/// Whether there is anything.
///
/// # Errors
/// The format's.
pub fn there<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Option::<Anything>::deserialize(from).map(|found| found.is_some())
}

/// Custom fields that may be null, which are none.
///
/// # Errors
/// The format's.
pub fn fields<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<FieldParts>, D::Error> {
    nullable(from)
}

impl Parts {
    /// That all of an item which is stored and wanted is listed.
    ///
    /// # Errors
    /// `CollectionUnreadable`.
    pub fn whole(&self, item: &Item, rules: &Rules) -> Result<(), Failure> {
        let Some(part) = self.lost(item, rules) else { return Ok(()) };
        let why = match self.view_password {
            Some(false) => "is hidden from the machine account",
            _ => "cannot be decrypted by bw",
        };
        let message = format!("{part} of item {} {why}", quoted(&item.name));
        Err(Failure::new(CollectionUnreadable, message))
    }

    /// The first part that is stored and wanted, and not listed.
    fn lost(&self, item: &Item, rules: &Rules) -> Option<&'static str> {
        let Self { kind, notes, login, ssh_key: key, .. } = self;
        let listed =
            |part: fn(&Login) -> &Option<Secret>| item.login.as_ref().and_then(|it| part(it).as_ref());
        let secret =
            |part: fn(&SshKey) -> &Option<Secret>| item.ssh_key.as_ref().and_then(|it| part(it).as_ref());
        let part = |part: Option<&Secret>| part.is_some_and(|part| !part.expose().is_empty());
        let field = |(at, stored): (usize, &FieldParts)| {
            let listed = item.fields.get(at);
            (stored.name && listed.is_none_or(|it| it.name.is_none()))
                || (stored.value && listed.is_none_or(|it| it.value.is_none()))
        };
        let parts = [
            (login.password && listed(|it| &it.password).is_none(), "the password"),
            (*notes && (*kind == 2 || rules.fields) && item.notes.is_none(), "the text"),
            (key.private_key && !part(secret(|it| &it.private_key)), "the private key"),
            (key.public_key && !part(secret(|it| &it.public_key)), "the public key"),
            (key.key_fingerprint && !part(secret(|it| &it.key_fingerprint)), "the fingerprint"),
            (rules.fields && login.username && listed(|it| &it.username).is_none(), "the user name"),
            (rules.fields && login.totp && listed(|it| &it.totp).is_none(), "the seed"),
            (rules.fields && self.fields.iter().enumerate().any(field), "a custom field"),
            (
                rules.attachments
                    && item.attachments.iter().any(|it| it.file_name.as_ref().is_none_or(String::is_empty)),
                "an attachment's name",
            ),
        ];
        parts.into_iter().find_map(|(lost, part)| lost.then_some(part))
    }
}
