//! What a bridge says as its password: what stands in the configuration, or a shared access
//! signature made from a key.
//!
//! Source of the form: Azure, "Control access to IoT Hub with shared access signatures".

use std::fmt::{self, Write as _};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::config::{Password, Sas, SecretError};

/// A token is renewed this part of its time before its end: a tenth, and at least
/// [`RENEW_BEFORE_MIN`].
const RENEW_BEFORE_PART: u32 = 10;
/// Room for clocks that differ, and for a slow reconnect.
const RENEW_BEFORE_MIN: Duration = Duration::from_secs(60);

/// A password for one connection.
#[derive(Clone)]
pub struct Token {
    /// What to say.
    pub text: String,
    /// After this time a new connection must say a new one.
    pub renew_after: Option<Duration>,
}

/// The password itself is never printed.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("renew_after", &self.renew_after).finish_non_exhaustive()
    }
}

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It, or the key for it, cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The key is not one.
    #[error("the key of `sas` is not base64; take the primary key of the device as Azure shows it")]
    Key,
    /// The file server does not answer.
    #[error("the password could not be read in time; does its file lie on a network drive?")]
    Silent,
}

impl Token {
    /// Reads `password`, and makes a token that begins at `now` if that is asked for. Blocks.
    ///
    /// # Errors
    /// Says what is missing. The text never holds the password.
    pub fn read(password: &Password, now: SystemTime) -> Result<Self, TokenError> {
        let secret = password.secret().read()?;
        match password {
            Password::Plain(_) => Ok(Self { text: secret, renew_after: None }),
            Password::Sas(sas) => {
                let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let text = signature(sas, &secret, (now + sas.valid).as_secs())?;
                let before = (sas.valid / RENEW_BEFORE_PART).max(RENEW_BEFORE_MIN);
                Ok(Self { text, renew_after: Some(sas.valid.saturating_sub(before)) })
            }
        }
    }
}

/// The signature that opens the resource until `expiry`, in seconds since 1970.
fn signature(sas: &Sas, key: &str, expiry: u64) -> Result<String, TokenError> {
    let key = STANDARD.decode(key.trim()).map_err(|_| TokenError::Key)?;
    let resource = url_encoded(&sas.resource);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signature = hmac::sign(&key, format!("{resource}\n{expiry}").as_bytes());
    let signature = url_encoded(&STANDARD.encode(signature));
    let mut token = format!("SharedAccessSignature sr={resource}&sig={signature}&se={expiry}");
    if let Some(policy) = &sas.policy {
        token.push_str(&format!("&skn={}", url_encoded(policy)));
    }
    Ok(token)
}

/// `text` with everything but letters, digits and `-_.~` as `%2F` (RFC 3986, 2.1).
fn url_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    /// Made with Python's `hmac`, `base64` and `urllib.parse.quote`.
    #[test]
    fn a_token_is_as_azure_wants_it() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n").unwrap();
        let mut sas = Sas {
            key: Secret::File(file.path().into()),
            resource: "hub.azure-devices.net/devices/greenhouse".into(),
            policy: None,
            valid: Duration::from_secs(3600),
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 - 3600);
        let token = Token::read(&Password::Sas(sas.clone()), now).unwrap();
        let expected = "SharedAccessSignature sr=hub.azure-devices.net%2Fdevices%2Fgreenhouse\
            &sig=HWqc7kUGEmIa6VOb803cxCofJiNhc1tla9HzXy0QZd0%3D&se=1767225600";
        assert_eq!((token.text.as_str(), token.renew_after), (expected, Some(Duration::from_secs(3240))));
        assert!(!format!("{token:?}").contains("sig="));
        sas.policy = Some("device owner".into());
        let token = Token::read(&Password::Sas(sas), now).unwrap();
        assert_eq!(token.text, format!("{expected}&skn=device%20owner"));
    }

    #[test]
    fn a_key_that_is_none_is_refused_and_not_repeated() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, b"hunter2!\n").unwrap();
        let key = Secret::File(file.path().into());
        let sas = Sas { key, resource: "r".into(), policy: None, valid: VALID };
        let error = Token::read(&Password::Sas(sas), SystemTime::UNIX_EPOCH).unwrap_err().to_string();
        assert!(error.contains("base64") && !error.contains("hunter2"), "{error}");
    }

    const VALID: Duration = Duration::from_secs(600);
}
