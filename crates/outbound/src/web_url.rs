//! What counts as a URL of the web where a stranger gives one: the one judgement, used where a URL is registered and
//! again where it is dialled.

use url::Url;

/// Longest URL accepted, in bytes.
const MAX_URL_BYTES: usize = 2_048;

/// Why a text is no URL of the web. The words are for the URL's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not an absolute http or https URL.
    #[error("must be a valid http or https URL")]
    Malformed,
    /// With characters that URLs do not have, and that parsers drop or mend without a word.
    #[error("must not contain spaces, control characters or backslashes")]
    Characters,
    /// Longer than 2,048 bytes.
    #[error("must be at most 2048 bytes long")]
    TooLong,
    /// A user name or password in it.
    #[error("must not contain a user name or password")]
    Credentials,
}

/// `text` as it is kept: without the white space around it that a pasted URL brings along, its scheme in lower case, and a
/// host name of other alphabets in its ASCII form (IDNA). What is neither is kept as it was given.
///
/// # Errors
/// [`UrlError`] as [`web_url`] has it.
pub fn normal_web_url(text: &str) -> Result<String, UrlError> {
    let text = text.trim();
    let url = web_url(text)?;
    let is_normal = text.is_ascii() && text.starts_with(url.scheme());
    Ok(if is_normal { text.to_owned() } else { url.into() })
}

/// Parses `text` as an absolute `http` or `https` URL with a host and without credentials. Where it leads is not
/// looked at.
///
/// # Errors
/// [`UrlError`] if it is anything else.
pub fn web_url(text: &str) -> Result<Url, UrlError> {
    if text.len() > MAX_URL_BYTES {
        return Err(UrlError::TooLong);
    }
    // The parser drops or mends these silently; a sender of them has something in mind.
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err(UrlError::Characters);
    }
    let url = Url::parse(text).map_err(|_| UrlError::Malformed)?;
    let spelled_out = text.split_once("://").is_some_and(|(_, rest)| !rest.starts_with(['/', '?', '#']));
    if !matches!(url.scheme(), "http" | "https") || !spelled_out || !url.has_host() {
        return Err(UrlError::Malformed);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlError::Credentials);
    }
    Ok(url)
}

#[cfg(test)]
#[path = "web_url_tests.rs"]
mod tests;
