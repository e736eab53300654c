//! The vault's cryptography, as far as a server that knows every password
//! needs it: it only ever encrypts. Keys are made from labels, so the same
//! fixture is the same vault after a restart.

use aes::Aes256;
use anyhow::{Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeEncrypt, InnerIvInit, KeyInit};
use num_bigint::BigUint;
use ring::rand::SecureRandom;
use ring::{digest, hmac, pbkdf2, rand};

/// The pair that every account has: nothing here is worth a key of its own.
const PRIVATE_KEY: &[u8] = include_bytes!("../keys/account-private.der");
const PUBLIC_KEY: &[u8] = include_bytes!("../keys/account-public.der");
/// Where the modulus lies in that SubjectPublicKeyInfo of an RSA key of 2048
/// bits with the exponent 65537.
const MODULUS: std::ops::Range<usize> = 33..289;

/// A key that encrypts and authenticates.
pub(crate) struct SymmetricKey {
    bytes: [u8; 64],
    cipher: Aes256,
    mac: hmac::Key,
}

impl SymmetricKey {
    fn new(bytes: [u8; 64]) -> Self {
        let (enc, mac) = bytes.split_at(32);
        let mut key = [0; 32];
        key.copy_from_slice(enc);
        let mac = hmac::Key::new(hmac::HMAC_SHA256, mac);
        Self { bytes, cipher: Aes256::new(&key.into()), mac }
    }

    /// The key that a label stands for.
    pub(crate) fn of(path: &[&str]) -> Self {
        Self::new(hash(path))
    }

    /// What a master password and its salt stretch to: PBKDF2, then the first
    /// block of HKDF-Expand for each half.
    pub(crate) fn stretched(password: &str, email: &str, rounds: u32) -> Result<Self> {
        let rounds = std::num::NonZeroU32::new(rounds).ok_or_else(|| anyhow!("no rounds"))?;
        let salt = email.trim().to_lowercase();
        let mut master = [0; 32];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, rounds, salt.as_bytes(), password.as_bytes(), &mut master);
        let master = hmac::Key::new(hmac::HMAC_SHA256, &master);
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(hmac::sign(&master, b"enc\x01").as_ref());
        bytes[32..].copy_from_slice(hmac::sign(&master, b"mac\x01").as_ref());
        Ok(Self::new(bytes))
    }

    /// `2.iv|ciphertext|mac`. The same text gives the same: a server keeps what it
    /// was sent, and `bw` would see a change in what did not change.
    pub(crate) fn encrypt(&self, plain: &[u8]) -> Result<String> {
        let mut iv = [0; 16];
        iv.copy_from_slice(&hmac::sign(&self.mac, plain).as_ref()[..16]);
        let cipher = cbc::Encryptor::inner_iv_init(self.cipher.clone(), &iv.into());
        let ciphertext = cipher.encrypt_padded_vec::<Pkcs7>(plain);
        let mut mac = hmac::Context::with_key(&self.mac);
        mac.update(&iv);
        mac.update(&ciphertext);
        let tag = mac.sign();
        Ok(format!("2.{}|{}|{}", base64(&iv), base64(&ciphertext), base64(tag.as_ref())))
    }

    /// The same as a file has it: the kind in a byte, the vector, the code, the text.
    pub(crate) fn encrypt_file(&self, plain: &[u8]) -> Result<Vec<u8>> {
        let text = self.encrypt(plain)?;
        let parts = text.trim_start_matches("2.").split('|').map(|part| STANDARD.decode(part));
        let parts: Vec<_> = parts.collect::<std::result::Result<_, _>>()?;
        let [iv, ciphertext, tag] = parts.as_slice() else { return Err(anyhow!("no three parts")) };
        Ok([&[2], iv.as_slice(), tag, ciphertext].concat())
    }

    /// Another symmetric key under this one.
    pub(crate) fn wrap(&self, key: &Self) -> Result<String> {
        self.encrypt(&key.bytes)
    }

    /// The private half of the accounts' pair under this key.
    pub(crate) fn wrap_private_key(&self) -> Result<String> {
        self.encrypt(PRIVATE_KEY)
    }

    /// `4.ciphertext`: this key for whoever has the accounts' pair.
    pub(crate) fn seal(&self) -> Result<String> {
        Ok(format!("4.{}", base64(&oaep(&self.bytes)?)))
    }
}

/// The public half of the accounts' pair.
pub(crate) fn public_key() -> String {
    base64(PUBLIC_KEY)
}

/// RSA-OAEP with SHA-1 (RFC 8017, 7.1.1) to the accounts' public key. With
/// the public exponent it is one power, which is not worth a dependency that
/// can do the dangerous half too.
fn oaep(message: &[u8]) -> Result<Vec<u8>> {
    let modulus = &PUBLIC_KEY[MODULUS];
    let label = sha1(b"");
    let mut seed = [0; 20];
    fill(&mut seed)?;
    let mut block = vec![0; modulus.len() - 1 - seed.len()];
    block[..label.len()].copy_from_slice(&label);
    let start = block.len() - message.len();
    block[start - 1] = 1;
    block[start..].copy_from_slice(message);
    mask(&mut block, &seed);
    mask(&mut seed, &block);
    let padded = BigUint::from_bytes_be(&[&[0], &seed[..], &block].concat());
    let power = padded.modpow(&BigUint::from(65537_u32), &BigUint::from_bytes_be(modulus)).to_bytes_be();
    Ok([vec![0; modulus.len() - power.len()], power].concat())
}

/// Exclusive-or with MGF1 of the seed.
fn mask(target: &mut [u8], seed: &[u8]) {
    for (counter, chunk) in (0_u32..).zip(target.chunks_mut(20)) {
        let hash = sha1(&[seed, &counter.to_be_bytes()].concat());
        chunk.iter_mut().zip(hash).for_each(|(byte, mask)| *byte ^= mask);
    }
}

fn sha1(data: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, data).as_ref().to_vec()
}

fn hash(path: &[&str]) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes.copy_from_slice(digest::digest(&digest::SHA512, path.join("\0").as_bytes()).as_ref());
    bytes
}

fn fill(bytes: &mut [u8]) -> Result<()> {
    rand::SystemRandom::new().fill(bytes).map_err(|_| anyhow!("the system has no random bytes"))
}

/// The UUID that a label stands for.
pub(crate) fn uuid_of(path: &[&str]) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash(path)[..16]);
    uuid(bytes)
}

/// A UUID that this process has not given before.
pub(crate) fn next_uuid() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    uuid_of(&["next", &NEXT.fetch_add(1, Ordering::Relaxed).to_string()])
}

fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// As JSON Web Tokens write it.
pub(crate) fn base64_url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The reverse of [`base64_url`].
pub(crate) fn from_base64_url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// The key that signs access tokens; the same after a restart, as on a real
/// server.
pub(crate) fn token_key() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &hash(&["access tokens"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_gives_one_uuid_of_version_4() {
        let id = uuid_of(&["item", "a"]);
        assert_eq!(id, uuid_of(&["item", "a"]));
        assert_ne!(id, uuid_of(&["itema"]));
        assert_eq!((id.len(), &id[14..15]), (36, "4"));
    }

    #[test]
    fn an_encryption_is_the_same_for_the_same_text_and_key_only() {
        let key = SymmetricKey::of(&["k"]);
        let encrypted = key.encrypt(b"x").unwrap();
        assert_eq!(key.encrypt(b"x").unwrap(), encrypted);
        assert_ne!(key.encrypt(b"y").unwrap(), encrypted);
        assert_ne!(SymmetricKey::of(&["l"]).encrypt(b"x").unwrap(), encrypted);
    }

    #[test]
    fn a_sealed_key_is_as_long_as_the_modulus() {
        assert_eq!(PUBLIC_KEY.len(), MODULUS.end + 5);
        assert_eq!(oaep(&[7; 64]).unwrap().len(), MODULUS.len());
    }
}
