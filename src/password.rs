//! Password hashes: argon2id in PHC form (`$argon2id$v=19$m=19456,t=2,p=1$salt$hash`), made by
//! `serialgate passwd` and checked at logins.
//!
//! Source: RFC 9106; the PHC string format. A check costs memory and time on purpose, so both are
//! bounded when a hash is read: a gateway may have 512 MiB and one slow core.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

/// Bytes of a new salt (RFC 9106, 3.1).
pub const SALT_BYTES: usize = 16;

/// Longest password, in bytes (MQTT 5.0, 1.5.6).
pub const MAX_BYTES: usize = 65_535;

/// Memory of a new hash, in KiB, and how often it is gone over: the least that OWASP recommends for
/// argon2id, which a Pi Zero still bears.
const NEW: (u32, u32) = (19 * 1024, 2);

/// Memory of a hash, in KiB. Less is guessed too fast, more does not fit beside everything else.
const MEMORY_KIB: RangeInclusive<u32> = 4 * 1024..=64 * 1024;

/// Most work of one check: KiB times passes. A login has ten seconds, and others wait behind it.
const MAX_WORK_KIB: u32 = 256 * 1024;

/// Most lanes. We fill them one after the other, so that they are no gain here.
const MAX_LANES: u32 = 8;

/// Bytes of a hash's output.
const OUTPUT_BYTES: RangeInclusive<usize> = 16..=64;

/// Why a text is no hash that we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// It does not have the form.
    #[error("is not of the form $argon2id$v=19$m=…,t=…,p=…$salt$hash")]
    Form,
    /// It was made by another function, or another version.
    #[error("is not argon2id in version 19")]
    Function,
    /// It needs too little or too much memory.
    #[error("needs m={0} KiB of memory, which is not within 4096 to 65536")]
    Memory(u32),
    /// It needs too much time.
    #[error("takes too long: m times t is {0}, and 262144 is the limit")]
    Work(u64),
    /// It has too many lanes.
    #[error("has p={0} lanes, and 8 is the limit")]
    Lanes(u32),
    /// Its salt or its output has a length that nobody uses.
    #[error("has a salt or an output that is too short or too long")]
    Length,
}

/// The hash of a password. Neither `{:?}` nor any message shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash(Arc<PasswordHash>);

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(…)")
    }
}

impl Hash {
    /// Reads a hash.
    ///
    /// # Errors
    /// Where it has not the form, or would cost too much to check. The error does not repeat it.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        let is_foreign = text.starts_with('$') && !text.starts_with("$argon2id$");
        let wrong = if is_foreign { HashError::Function } else { HashError::Form };
        let hash = PasswordHash::new(text).map_err(|_| wrong)?;
        let version = hash.version.map(Version::try_from);
        if hash.algorithm != Algorithm::Argon2id.ident() || !matches!(version, Some(Ok(Version::V0x13))) {
            return Err(HashError::Function);
        }
        let named = |name| hash.params.get(name).is_some();
        if hash.params.iter().count() != 3 || !["m", "t", "p"].into_iter().all(named) {
            return Err(HashError::Form);
        }
        let params = Params::try_from(&hash).map_err(|_| HashError::Form)?;
        let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
        if !MEMORY_KIB.contains(&memory) {
            return Err(HashError::Memory(memory));
        }
        let work = u64::from(memory) * u64::from(passes);
        if work > u64::from(MAX_WORK_KIB) {
            return Err(HashError::Work(work));
        }
        if lanes > MAX_LANES {
            return Err(HashError::Lanes(lanes));
        }
        let (Some(salt), Some(output)) = (&hash.salt, &hash.hash) else { return Err(HashError::Form) };
        if salt.len() < Salt::MIN_LENGTH || !OUTPUT_BYTES.contains(&output.len()) {
            return Err(HashError::Length);
        }
        Ok(Self(Arc::new(hash)))
    }

    /// Hashes `password` with what is usual now. `None` for one that is longer than
    /// [`MAX_BYTES`]. Takes a while.
    #[must_use]
    pub fn new(password: &[u8], salt: [u8; SALT_BYTES]) -> Option<Self> {
        if password.len() > MAX_BYTES {
            return None;
        }
        let (memory, passes) = NEW;
        let params = Params::new(memory, passes, 1, None).ok()?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = argon2.hash_password_with_salt(password, &salt).ok()?;
        Some(Self(Arc::new(hash)))
    }

    /// A hash that no password fits, as costly to check as a usual one: what is checked for a user
    /// who does not exist, so that the time tells nobody who does.
    #[must_use]
    pub fn decoy(like: Option<&Self>, salt: [u8; SALT_BYTES]) -> Option<Self> {
        // An output drawn by lot; what would lead to it is as good as unknown.
        let (memory, passes) = NEW;
        let usual = || ParamsString::try_from(&Params::new(memory, passes, 1, None).ok()?).ok();
        let params = like.map_or_else(usual, |hash| Some(hash.0.params.clone()))?;
        Some(Self(Arc::new(PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params,
            salt: Salt::new(&salt).ok(),
            hash: Output::new(&[salt, salt].concat()).ok(),
        })))
    }

    /// Whether `password` is the one. Takes a while, and up to 64 MiB of memory.
    #[must_use]
    pub fn fits(&self, password: &[u8]) -> bool {
        Argon2::default().verify_password(password, &*self.0).is_ok()
    }

    /// The text of it: for the configuration, and for nothing that is shown.
    #[must_use]
    pub fn reveal(&self) -> String {
        self.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `hunter2` with the least that is taken, as the C implementation makes it: the `argon2`
    /// program with `somesalt16bytes! -id -k 4096 -t 1 -p 1 -l 32 -e`.
    const LEAST: &str =
        "$argon2id$v=19$m=4096,t=1,p=1$c29tZXNhbHQxNmJ5dGVzIQ$AxbPsoar4jn1B/TXxLkKTzwX53OVAvuM6N1Za4BCEU8";

    #[test]
    fn a_hash_of_the_reference_implementation_is_checked() {
        let hash = Hash::parse(LEAST).unwrap();
        assert!(hash.fits(b"hunter2"));
        assert!(!hash.fits(b"hunter3") && !hash.fits(b""));
        assert_eq!(hash.reveal(), LEAST);
    }

    #[test]
    fn a_new_hash_is_read_and_fits() {
        let hash = Hash::new("grüße".as_bytes(), [7; SALT_BYTES]).unwrap();
        let text = hash.reveal();
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        let again = Hash::parse(&text).unwrap();
        assert_eq!(again, hash);
        assert!(again.fits("grüße".as_bytes()) && !again.fits(b"x"));
        assert_eq!(Hash::new(&vec![0; MAX_BYTES + 1], [7; SALT_BYTES]), None);
    }

    #[test]
    fn a_decoy_costs_the_same_and_never_fits() {
        let least = Hash::parse(LEAST).unwrap();
        let decoy = Hash::decoy(Some(&least), [1; SALT_BYTES]).unwrap();
        assert!(decoy.reveal().starts_with("$argon2id$v=19$m=4096,t=1,p=1$"));
        assert!(!decoy.fits(b"hunter2") && !decoy.fits(b""));
        let usual = Hash::decoy(None, [1; SALT_BYTES]).unwrap();
        assert!(Hash::parse(&usual.reveal()).is_ok());
    }

    #[test]
    fn what_is_no_hash_or_costs_too_much_is_refused() {
        let with = |params: &str| LEAST.replace("m=4096,t=1,p=1", params);
        for (text, expected) in [
            ("hunter2".to_owned(), HashError::Form),
            (String::new(), HashError::Form),
            ("$argon2id$v=19$m=4096,t=1,p=1".to_owned(), HashError::Form),
            (LEAST.rsplit_once('$').unwrap().0.to_owned(), HashError::Form),
            (LEAST.replace("argon2id", "argon2i"), HashError::Function),
            ("$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW".to_owned(), HashError::Function),
            (LEAST.replace("v=19", "v=16"), HashError::Function),
            (LEAST.replace("$v=19", ""), HashError::Function),
            (with("m=4096,t=1"), HashError::Form),
            (with("m=4096,t=0,p=1"), HashError::Form),
            (with("m=4095,t=1,p=1"), HashError::Memory(4095)),
            (with("m=65537,t=1,p=1"), HashError::Memory(65537)),
            (with("m=4294967295,t=1,p=1"), HashError::Memory(u32::MAX)),
            (with("m=65536,t=5,p=1"), HashError::Work(5 * 65536)),
            (with("m=4096,t=4294967295,p=1"), HashError::Work(4096 * u64::from(u32::MAX))),
            (with("m=4096,t=1,p=9"), HashError::Lanes(9)),
        ] {
            assert_eq!(Hash::parse(&text), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_hash_is_not_shown() {
        assert_eq!(format!("{:?}", Hash::parse(LEAST)), "Ok(Hash(…))");
        let wrong = LEAST.replace("v=19", "v=16");
        assert!(!format!("{0:?} {0}", Hash::parse(&wrong).unwrap_err()).contains("somesalt"));
    }
}
