//! The JSON that `bw` answers with. Only what we use is read.

use crate::classify;
use colibri_pair::Secret;
use colibri_session::Failure;
use colibri_tenant::ErrorName::VaultError;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};

/// How much of an answer that is no JSON is looked at, in bytes.
const MAX_WORDS: usize = 4096;

/// `bw`'s answer to one question.
#[derive(Debug)]
pub enum Answer<T> {
    /// `success: true` and the expected `data`.
    Success(T),
    /// `success: false`, with a message.
    Refusal(String),
    /// Anything else: no JSON, or not all of it.
    Garbage,
}

/// A list in `data`.
#[derive(Debug, Deserialize)]
pub struct List<T> {
    /// Its entries.
    pub data: Vec<T>,
}

/// What nobody looks into.
pub type Anything = IgnoredAny;

/// What `GET /status` says.
#[derive(Debug, Deserialize)]
pub struct Status {
    /// The state of the account.
    pub template: StatusTemplate,
}

/// The state of the account.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusTemplate {
    /// The server that `bw` is set up for.
    pub server_url: Option<String>,
}

/// A collection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Collection {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The organization that it is of.
    #[serde(default)]
    pub organization_id: Option<String>,
}

/// An organization.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Organization {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// A file of an item.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// Its id.
    pub id: String,
    /// Its name; none where it cannot be decrypted.
    pub file_name: Option<String>,
    /// How many bytes it takes encrypted, as text.
    pub size: Option<String>,
    /// What is in it, once it was fetched.
    #[serde(skip)]
    pub content: Option<Secret>,
}

/// An item of the vault.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// Its id, which orders items.
    pub id: String,
    /// Its name.
    pub name: String,
    /// 1 login, 2 secure note, 3 card, 4 identity, 5 SSH key.
    pub r#type: u32,
    /// The collections that it is in.
    #[serde(default, deserialize_with = "nullable")]
    pub collection_ids: Vec<String>,
    /// The text of a note.
    pub notes: Option<Secret>,
    /// What a login has.
    pub login: Option<Login>,
    /// What an SSH key has.
    pub ssh_key: Option<SshKey>,
    /// Custom fields.
    #[serde(default, deserialize_with = "nullable")]
    pub fields: Vec<Field>,
    /// Files.
    #[serde(default, deserialize_with = "nullable")]
    pub attachments: Vec<Attachment>,
    /// There, if only empty, unless the account may not see passwords.
    pub password_history: Option<Anything>,
    /// When it was last changed.
    pub revision_date: Option<String>,
    /// When it was put in the trash.
    pub deleted_date: Option<Anything>,
    /// When it was archived.
    pub archived_date: Option<Anything>,
}

impl Item {
    /// The same once more, for another file.
    pub fn copy(&self) -> Self {
        let again = |secret: &Option<Secret>| secret.as_ref().map(|it| Secret::new(it.expose().to_owned()));
        let login = self.login.as_ref().map(|login| Login {
            username: again(&login.username),
            password: again(&login.password),
            totp: again(&login.totp),
            passkeys: login.passkeys.clone(),
            uris: login.uris.iter().map(|uri| Uri { uri: again(&uri.uri) }).collect(),
        });
        let ssh_key = self.ssh_key.as_ref().map(|key| SshKey {
            private_key: again(&key.private_key),
            public_key: again(&key.public_key),
            key_fingerprint: again(&key.key_fingerprint),
        });
        let field = |field: &Field| Field { name: field.name.clone(), value: again(&field.value) };
        let file = |file: &Attachment| Attachment {
            id: file.id.clone(),
            file_name: file.file_name.clone(),
            size: file.size.clone(),
            content: again(&file.content),
        };
        Self {
            id: self.id.clone(),
            name: self.name.clone(),
            r#type: self.r#type,
            collection_ids: self.collection_ids.clone(),
            notes: again(&self.notes),
            login,
            ssh_key,
            fields: self.fields.iter().map(field).collect(),
            attachments: self.attachments.iter().map(file).collect(),
            password_history: self.password_history,
            revision_date: self.revision_date.clone(),
            deleted_date: self.deleted_date,
            archived_date: self.archived_date,
        }
    }
}

/// What a login has.
#[derive(Debug, Default, Deserialize)]
pub struct Login {
    /// The user's name.
    pub username: Option<Secret>,
    /// The password; none if it is empty.
    pub password: Option<Secret>,
    /// The seed of one-time passwords.
    pub totp: Option<Secret>,
    /// Passkeys.
    #[serde(default, rename = "fido2Credentials", deserialize_with = "nullable")]
    pub passkeys: Vec<Anything>,
    /// Where the login is good for.
    #[serde(default, deserialize_with = "nullable")]
    pub uris: Vec<Uri>,
}

/// What an SSH key has.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SshKey {
    /// The private key; none where it cannot be decrypted.
    pub private_key: Option<Secret>,
    /// The public key.
    pub public_key: Option<Secret>,
    /// Its fingerprint.
    pub key_fingerprint: Option<Secret>,
}

/// Where a login is good for.
#[derive(Debug, Deserialize)]
pub struct Uri {
    /// The address.
    pub uri: Option<Secret>,
}

/// A custom field.
#[derive(Debug, Deserialize)]
pub struct Field {
    /// Its name.
    pub name: Option<String>,
    /// Its value.
    pub value: Option<Secret>,
}

/// Reads one answer that fills `bytes`.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Answer<T> {
    #[derive(Deserialize)]
    struct Verdict {
        success: bool,
        message: Option<String>,
    }
    #[derive(Deserialize)]
    struct Success<T> {
        data: T,
    }
    match serde_json::from_slice::<Verdict>(bytes) {
        Ok(Verdict { success: true, .. }) => {
            serde_json::from_slice::<Success<T>>(bytes).map_or(Answer::Garbage, |ok| Answer::Success(ok.data))
        }
        Ok(Verdict { message, .. }) => Answer::Refusal(message.unwrap_or_default()),
        Err(_) => Answer::Garbage,
    }
}

/// Reads `data` of a successful answer.
///
/// # Errors
/// By what `bw` says; `VaultError` for what is no answer.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    match parse(bytes) {
        Answer::Success(data) => Ok(data),
        Answer::Refusal(message) => Err(classify::failure(&message)),
        Answer::Garbage => Err(garbage(bytes)),
    }
}

/// What begins as JSON does may hold values, whose words mean nothing here.
pub fn garbage(bytes: &[u8]) -> Failure {
    match bytes.get(..MAX_WORDS.min(bytes.len())) {
        Some(words @ [first, ..]) if !b"{[\"".contains(first) => {
            classify::failure(&String::from_utf8_lossy(words))
        }
        _ => Failure::new(VaultError, "bw's answer is cut off, or not of the form that is known"),
    }
}

/// A list that may be null, which is empty.
///
/// # Errors
/// The format's.
pub fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use colibri_tenant::ErrorName::VaultLocked;

    #[test]
    fn only_complete_json_is_an_answer() {
        let whole = br#"{"success":true,"data":{"object":"list","data":[{"id":"1","name":"a","x":[1]}]}}"#;
        let Answer::Success(list) = parse::<List<Collection>>(whole) else { panic!("an answer") };
        assert_eq!(list.data, [Collection { id: "1".into(), name: "a".into(), organization_id: None }]);
        for end in 0..whole.len() {
            assert!(matches!(parse::<List<Collection>>(&whole[..end]), Answer::Garbage), "{end}");
        }
        assert!(matches!(parse::<List<Collection>>(br#"{"success":true}"#), Answer::Garbage));
        assert!(matches!(parse::<Anything>(b"Internal Server Error"), Answer::Garbage));
    }

    #[test]
    fn a_refusal_keeps_its_message() {
        let refused = parse::<Anything>(br#"{"success":false,"message":"Vault is locked."}"#);
        assert!(matches!(refused, Answer::Refusal(message) if message == "Vault is locked."));
        assert!(matches!(parse::<Anything>(br#"{"success":false,"message":null}"#), Answer::Refusal(_)));
    }

    #[test]
    fn nulls_are_empty() {
        let item = br#"{"id":"1","name":"A","type":1,"collectionIds":null,"fields":null,
            "login":{"username":null,"uris":null}}"#;
        let item: Item = serde_json::from_slice(item).unwrap();
        assert!(item.login.unwrap().password.is_none() && item.password_history.is_none());
    }

    #[test]
    fn a_value_does_not_name_a_failure() {
        for value in ["certificate", "Rate limit exceeded", "Invalid client_id", "SyntaxError"] {
            let cut = format!(r#"{{"success":true,"data":{{"data":[{{"id":"1","name":"A","notes":"{value}"#);
            assert_eq!(read::<List<Item>>(cut.as_bytes()).unwrap_err().name, VaultError, "{value}");
        }
        assert_eq!(read::<List<Item>>(b"").unwrap_err().name, VaultError);
        assert_eq!(read::<List<Item>>(b"Vault is locked.").unwrap_err().name, VaultLocked);
    }
}
