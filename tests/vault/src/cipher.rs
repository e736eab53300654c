//! Items and collections as the server sends them: encrypted field by field.

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::crypto::SymmetricKey;
use crate::fixture::{Access, Attachment, Collection, Content, Field, FieldKind, Item, Login};

/// When an item was made and last changed, as the server writes dates.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    pub(crate) created: String,
    pub(crate) revised: String,
}

/// The key that an item has of its own, if any.
fn own_key(item: &Item) -> Option<SymmetricKey> {
    let number = item.own_key.or(item.unreadable.then_some(0));
    number.map(|number| SymmetricKey::of(&["item key", &item.id, &number.to_string()]))
}

/// The key of one file.
fn file_key(attachment: &Attachment) -> SymmetricKey {
    SymmetricKey::of(&["attachment key", &attachment.id])
}

/// A file as it lies on the server: the kind of encryption, then what `2.…` has in
/// base64, without separators.
pub(crate) fn file(attachment: &Attachment) -> Result<Vec<u8>> {
    file_key(attachment).encrypt_file(&attachment.content)
}

/// A file as an item lists it; `address` has a token that is good for a while.
pub(crate) fn attachment(
    item: &Item,
    attachment: &Attachment,
    key: &SymmetricKey,
    address: &str,
) -> Result<Value> {
    let own = own_key(item);
    let key = own.as_ref().unwrap_or(key);
    // As Vaultwarden, whose sizes are those of what was uploaded.
    let size = file(attachment)?.len();
    Ok(json!({
        "id": attachment.id, "url": address, "fileName": key.encrypt(attachment.name.as_bytes())?,
        "size": size.to_string(), "sizeName": format!("{size} bytes"),
        "key": key.wrap(&file_key(attachment))?, "object": "attachment",
    }))
}

/// An item without what depends on who looks at it.
pub(crate) fn encrypt(item: &Item, stamp: &Stamp, key: &SymmetricKey) -> Result<Value> {
    let own = own_key(item);
    let nobodys = SymmetricKey::of(&["nobody's key"]);
    let wrapping = if item.unreadable { &nobodys } else { key };
    let wrapped = own.as_ref().map(|own| wrapping.wrap(own)).transpose()?;
    let named = own.as_ref().unwrap_or(key);
    let key = if item.garbled { &nobodys } else { named };
    let text = match &item.content {
        Content::Note(text) => Some(text),
        _ => item.notes.as_ref(),
    };
    let fields = item.fields.iter().map(|field| encrypt_field(field, key)).collect::<Result<Vec<_>>>()?;
    let mut cipher = json!({
        "object": "cipherDetails", "id": item.id, "creationDate": stamp.created,
        "revisionDate": stamp.revised, "deletedDate": item.trashed.then_some(&stamp.revised),
        "archivedDate": item.archived.then_some(&stamp.revised), "reprompt": 0, "key": wrapped,
        "attachments": null, "organizationUseTotp": true, "name": named.encrypt(item.name.as_bytes())?,
        "notes": optional(text, key)?, "fields": fields, "passwordHistory": [], "login": null,
        "secureNote": null, "card": null, "identity": null, "sshKey": null, "bankAccount": null,
        "driversLicense": null, "passport": null, "folderId": null, "favorite": item.favorite,
    });
    let (kind, place, content) = match &item.content {
        Content::Login(login) => (1, "login", encrypt_login(login, key)?),
        Content::Note(_) => (2, "secureNote", json!({ "type": 0 })),
        Content::Card(card) => (3, "card", encrypt_map(card, key)?),
        Content::Identity(identity) => (4, "identity", encrypt_map(identity, key)?),
        Content::SshKey(ssh) => {
            let all = [
                ("privateKey", &ssh.private),
                ("publicKey", &ssh.public),
                ("keyFingerprint", &ssh.fingerprint),
            ];
            (5, "sshKey", encrypt_map(all, key)?)
        }
    };
    cipher["type"] = json!(kind);
    cipher[place] = content;
    Ok(cipher)
}

/// Puts on an item what depends on who looks at it: the best of its
/// collections' accesses, and only the collections that are seen.
pub(crate) fn show(
    mut cipher: Value,
    organization: Option<&str>,
    collections: &[&Collection],
    best: Access,
) -> Value {
    let ids: Vec<&str> = collections.iter().map(|collection| collection.id.as_str()).collect();
    let edit = best == Access::Manage;
    cipher["organizationId"] = json!(organization);
    cipher["collectionIds"] = json!(ids);
    cipher["edit"] = json!(edit);
    cipher["viewPassword"] = json!(best != Access::HidePasswords);
    cipher["permissions"] = json!({ "delete": edit, "restore": edit });
    cipher
}

/// A collection as one member sees it.
pub(crate) fn collection(
    collection: &Collection,
    organization: &str,
    access: Access,
    key: &SymmetricKey,
) -> Result<Value> {
    Ok(json!({
        "externalId": null, "id": collection.id, "organizationId": organization,
        "name": key.encrypt(collection.name.as_bytes())?, "type": 0,
        "defaultUserCollectionEmail": null, "object": "collectionDetails",
        "readOnly": access != Access::Manage, "hidePasswords": access == Access::HidePasswords,
        "manage": access == Access::Manage,
    }))
}

fn encrypt_login(login: &Login, key: &SymmetricKey) -> Result<Value> {
    let uri = |uri: &String| Ok(json!({ "uri": key.encrypt(uri.as_bytes())?, "match": null }));
    let uris = login.uris.iter().map(uri).collect::<Result<Vec<_>>>()?;
    Ok(json!({
        "totp": optional(login.totp.as_ref(), key)?,
        "username": optional(login.username.as_ref(), key)?,
        "password": optional(login.password.as_ref(), key)?,
        "passwordRevisionDate": null, "uri": uris.first().map(|first| first["uri"].clone()), "uris": uris,
    }))
}

fn encrypt_field(field: &Field, key: &SymmetricKey) -> Result<Value> {
    let kind = match field.kind {
        FieldKind::Text => 0,
        FieldKind::Hidden => 1,
        FieldKind::Boolean => 2,
    };
    let (name, value) = (optional(Some(&field.name), key)?, optional(Some(&field.value), key)?);
    Ok(json!({ "type": kind, "name": name, "value": value, "linkedId": null }))
}

fn encrypt_map<'a, K: AsRef<str>>(
    map: impl IntoIterator<Item = (K, &'a String)>,
    key: &SymmetricKey,
) -> Result<Value> {
    let pair = |(name, value): (K, _)| Ok((name.as_ref().to_owned(), optional(Some(value), key)?));
    Ok(Value::Object(map.into_iter().map(pair).collect::<Result<Map<_, _>>>()?))
}

/// An empty text is stored as absent, as `bw` does when it saves an item.
fn optional(text: Option<&String>, key: &SymmetricKey) -> Result<Value> {
    match text.filter(|text| !text.is_empty()) {
        Some(text) => Ok(Value::String(key.encrypt(text.as_bytes())?)),
        None => Ok(Value::Null),
    }
}
