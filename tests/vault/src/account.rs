//! An account's keys and what the server tells its owner about them.

use anyhow::Result;
use serde_json::{Value, json};

use crate::crypto::{self, SymmetricKey};
use crate::fixture::{Account, Fixture, Organization};

/// An account's keys as the server stores them: wrapped. Made once, because
/// the master key takes many rounds.
pub(crate) struct AccountKeys {
    made_of: (String, String, u32),
    user_key: SymmetricKey,
    wrapped_user_key: String,
    wrapped_private_key: String,
}

impl AccountKeys {
    pub(crate) fn new(account: &Account) -> Result<Self> {
        let master = SymmetricKey::stretched(&account.password, &account.email, account.kdf_iterations)?;
        let user_key = SymmetricKey::of(&["user key", &account.id]);
        Ok(Self {
            made_of: origin(account),
            wrapped_user_key: master.wrap(&user_key)?,
            wrapped_private_key: user_key.wrap_private_key()?,
            user_key,
        })
    }

    /// Whether they are still the account's.
    pub(crate) fn fit(&self, account: &Account) -> bool {
        self.made_of == origin(account)
    }

    /// The key of the account's own items.
    pub(crate) fn user_key(&self) -> &SymmetricKey {
        &self.user_key
    }

    /// What a login is answered with.
    pub(crate) fn login(&self, account: &Account, token: &str, lifetime: u64) -> Value {
        let kdf = json!({
            "KdfType": 0, "Iterations": account.kdf_iterations, "Memory": null, "Parallelism": null,
        });
        json!({
            "access_token": token, "expires_in": lifetime, "token_type": "Bearer", "scope": "api",
            "Key": self.wrapped_user_key, "PrivateKey": self.wrapped_private_key,
            "Kdf": 0, "KdfIterations": account.kdf_iterations, "KdfMemory": null, "KdfParallelism": null,
            "ResetMasterPassword": false, "ForcePasswordReset": false,
            "AccountKeys": {
                "publicKeyEncryptionKeyPair": {
                    "wrappedPrivateKey": self.wrapped_private_key, "publicKey": crypto::public_key(),
                    "Object": "publicKeyEncryptionKeyPair",
                },
                "Object": "privateKeys",
            },
            "UserDecryptionOptions": {
                "HasMasterPassword": true,
                "MasterPasswordUnlock": {
                    "Kdf": kdf, "Salt": account.email,
                    "MasterKeyEncryptedUserKey": self.wrapped_user_key,
                    "MasterKeyWrappedUserKey": self.wrapped_user_key,
                },
                "Object": "userDecryptionOptions",
            },
        })
    }

    /// The `profile` of a sync.
    pub(crate) fn profile(&self, account: &Account, fixture: &Fixture, created: &str) -> Result<Value> {
        let mine = fixture.organizations.iter().filter(|organization| organization.has(account));
        let organizations: Vec<Value> =
            mine.map(|organization| membership(organization, account)).collect::<Result<_>>()?;
        Ok(json!({
            "_status": 0,
            "accountKeys": {
                "publicKeyEncryptionKeyPair": {
                    "wrappedPrivateKey": self.wrapped_private_key, "publicKey": crypto::public_key(),
                    "signedPublicKey": null, "object": "publicKeyEncryptionKeyPair",
                },
                "securityState": null, "signatureKeyPair": null, "object": "privateKeys",
            },
            "id": account.id, "name": account.name(), "email": account.email, "emailVerified": true,
            "premium": true, "premiumFromOrganization": false, "culture": "en-US",
            "twoFactorEnabled": false, "key": self.wrapped_user_key,
            "privateKey": self.wrapped_private_key,
            "securityStamp": crypto::uuid_of(&["stamp", &account.id]), "organizations": organizations,
            "providers": [], "providerOrganizations": [], "forcePasswordReset": false,
            "avatarColor": null, "usesKeyConnector": false, "creationDate": created, "object": "profile",
        }))
    }

    /// The `userDecryption` of a sync.
    pub(crate) fn decryption(&self, account: &Account) -> Value {
        let kdf = json!({
            "kdfType": 0, "iterations": account.kdf_iterations, "memory": null, "parallelism": null,
        });
        json!({ "masterPasswordUnlock": {
            "kdf": kdf, "salt": account.email,
            "masterKeyEncryptedUserKey": self.wrapped_user_key,
            "masterKeyWrappedUserKey": self.wrapped_user_key,
        }})
    }
}

fn origin(account: &Account) -> (String, String, u32) {
    (account.password.clone(), account.email.clone(), account.kdf_iterations)
}

/// The key of an organization's items.
pub(crate) fn organization_key(organization: &Organization) -> SymmetricKey {
    SymmetricKey::of(&["organization key", &organization.id])
}

/// What an organization of this kind can do, and what it cannot.
const CAN: [&str; 11] = [
    "usersGetPremium",
    "use2fa",
    "useTotp",
    "usePolicies",
    "useApi",
    "selfHost",
    "hasPublicAndPrivateKeys",
    "usePasswordManager",
    "useCustomPermissions",
    "limitCollectionDeletion",
    "allowAdminAccessToAllCollectionItems",
];
const CANNOT: [&str; 17] = [
    "useDirectory",
    "useEvents",
    "useGroups",
    "useScim",
    "resetPasswordEnrolled",
    "useResetPassword",
    "ssoBound",
    "useSso",
    "useKeyConnector",
    "useSecretsManager",
    "useActivateAutofillPolicy",
    "useAdminSponsoredFamilies",
    "useRiskInsights",
    "keyConnectorEnabled",
    "accessSecretsManager",
    "limitCollectionCreation",
    "limitItemDeletion",
];
const FORBIDDEN: [&str; 12] = [
    "accessEventLogs",
    "accessImportExport",
    "accessReports",
    "createNewCollections",
    "editAnyCollection",
    "deleteAnyCollection",
    "manageGroups",
    "managePolicies",
    "manageSso",
    "manageUsers",
    "manageResetPassword",
    "manageScim",
];

fn membership(organization: &Organization, account: &Account) -> Result<Value> {
    let mut entry = json!({
        "id": organization.id, "name": organization.name, "seats": 20, "maxStorageGb": 32767,
        "organizationUserId": crypto::uuid_of(&["member", &organization.id, &account.id]),
        "productTierType": 3, "userId": account.id, "key": organization_key(organization).seal()?,
        "status": 2, "type": 0, "enabled": true, "object": "profileOrganization",
    });
    CAN.iter().for_each(|name| entry[name] = json!(true));
    CANNOT.iter().for_each(|name| entry[name] = json!(false));
    entry["permissions"] = FORBIDDEN.iter().map(|name| ((*name).to_owned(), json!(false))).collect();
    Ok(entry)
}
