//! Where a remote host is, as a person gives it.

use std::net::IpAddr;

use ureq::http::Uri;

/// The address of a host: `https://host:7117`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostUrl {
    base: String,
}

impl HostUrl {
    /// Reads an address. Plain `http` is for loopback alone, unless `insecure_http`: a token would go over the network
    /// for everybody to read.
    ///
    /// # Errors
    /// What is wrong with it, and what to give.
    pub fn parse(text: &str, insecure_http: bool) -> Result<Self, String> {
        let shown: String = text.chars().take(200).collect();
        let example = "give it as https://HOST:7117";
        let url: Uri = text
            .parse()
            .map_err(|error| format!("'{shown}' is no address ({error}); {example}"))?;
        let is_https = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(format!("'{shown}' is no http or https address; {example}")),
        };
        let authority = url
            .authority()
            .filter(|authority| !authority.host().is_empty())
            .ok_or_else(|| format!("'{shown}' names no host; {example}"))?;
        if authority.as_str().contains('@') {
            return Err(
                "the address may hold no user or password; the token goes into LAMPHOUSE_TOKEN or --token-file"
                    .to_owned(),
            );
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err(format!(
                "'{shown}' must end with the host and its port; {example}"
            ));
        }
        if !is_https && !insecure_http && !is_loopback(authority.host()) {
            return Err(format!(
                "'{shown}' would send the token over the network for everybody to read: use https, or a tunnel to \
                 http://127.0.0.1:PORT; --insecure-http does it all the same"
            ));
        }
        let scheme = if is_https { "https" } else { "http" };
        Ok(Self {
            base: format!("{scheme}://{authority}"),
        })
    }

    /// Without a slash at the end.
    pub(super) fn base(&self) -> &str {
        &self.base
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        for (text, base) in [
            ("https://lamp.example:7117", "https://lamp.example:7117"),
            ("https://lamp.example/", "https://lamp.example"),
            ("http://127.0.0.1:7117", "http://127.0.0.1:7117"),
            ("http://localhost:7117/", "http://localhost:7117"),
            ("http://[::1]:7117", "http://[::1]:7117"),
        ] {
            assert_eq!(
                HostUrl::parse(text, false).map(|url| url.base),
                Ok(base.to_owned())
            );
        }
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said() {
        for (text, words) in [
            ("", "https://HOST:7117"),
            ("lamp.example:7117", "https://HOST:7117"),
            ("ftp://lamp.example", "no http or https"),
            ("https://", "https://HOST:7117"),
            ("https://me:secret@lamp.example", "no user or password"),
            ("https://lamp.example/v1", "must end with"),
            ("https://lamp.example?token=1", "must end with"),
            ("http://lamp.example:7117", "for everybody to read"),
            ("http://127.0.0.1.example:7117", "for everybody to read"),
            ("http://10.0.0.1:7117", "for everybody to read"),
        ] {
            let why = HostUrl::parse(text, false).expect_err(text);
            assert!(why.contains(words), "{text}: {why}");
            assert!(!why.contains("secret"), "{why}");
        }
        assert!(HostUrl::parse("http://10.0.0.1:7117", true).is_ok());
    }
}
