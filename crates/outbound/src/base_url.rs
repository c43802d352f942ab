use std::str::FromStr;

use http::{Request, Uri};
use url::Url;

use crate::tls::server_name;

/// The address of a server that the operator or the user of a command names, for example `http://127.0.0.1:3000`. Its
/// path, if it has one, comes before the path of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    url: Url,
}

/// The text is no address of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the address {url}: {reason}")]
pub struct BaseUrlError {
    /// The address.
    pub url: String,
    /// Why not.
    pub reason: &'static str,
}

impl FromStr for BaseUrl {
    type Err = BaseUrlError;

    fn from_str(text: &str) -> Result<Self, BaseUrlError> {
        let refuse = |reason| BaseUrlError { url: text.to_owned(), reason };
        let url = Url::parse(text).map_err(|_| refuse("it is not an absolute URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("it must begin with http:// or https://"));
        }
        let host = url.host_str().ok_or_else(|| refuse("it names no host"))?;
        if url.scheme() == "https" && server_name(host).is_none() {
            return Err(refuse("no certificate can be for its host name"));
        }
        Ok(Self { url })
    }
}

impl BaseUrl {
    /// The address itself.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Host, and port where it is not the scheme's.
    pub fn authority(&self) -> &str {
        &self.url[url::Position::BeforeHost..url::Position::AfterPort]
    }

    /// `request`, whose URI is a path with query, with the address's own path before it. The path is left as it is
    /// spelled.
    ///
    /// # Errors
    /// [`http::Error`] if that is no URI.
    pub fn aim<B>(&self, mut request: Request<B>) -> Result<Request<B>, http::Error> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let target = format!("{}{path}", self.url.path().trim_end_matches('/'));
        *request.uri_mut() = target.parse::<Uri>()?;
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_used_says_why() {
        for (base, reason) in [
            ("localhost:3000", "it must begin with http:// or https://"),
            ("ftp://example.org", "it must begin with http:// or https://"),
            ("/x", "it is not an absolute URL"),
        ] {
            assert_eq!(base.parse::<BaseUrl>().unwrap_err().reason, reason, "{base}");
        }
    }

    #[test]
    fn paths_are_put_behind_the_addresses_own_as_they_are_spelled() {
        let base: BaseUrl = "http://[::1]:3000/x/".parse().unwrap();
        assert_eq!(base.authority(), "[::1]:3000");
        let aimed = base.aim(Request::get("/a/%2E%2E/b?c=%2f").body(()).unwrap()).unwrap();
        assert_eq!(aimed.uri(), "/x/a/%2E%2E/b?c=%2f");
        let base: BaseUrl = "https://api.example.org:443".parse().unwrap();
        assert_eq!((base.authority(), base.url().port_or_known_default()), ("api.example.org", Some(443)));
    }
}
