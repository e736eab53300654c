//! The vault server's address: what `bw` is told and what the relay may dial.

use crate::Failure;
use colibri_tenant::ErrorName;

/// Bitwarden's own clouds: the names that `bw` uses beside `vault.`.
const CLOUDS: [&str; 2] = ["bitwarden.com", "bitwarden.eu"];
/// To `bw` this is no server of one's own, and its status names none.
const DEFAULT: &str = "https://bitwarden.com";
const CLOUD_HOSTS: [&str; 5] = ["vault", "api", "identity", "notifications", "events"];

/// A server, by its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    url: String,
    host: String,
    port: u16,
}

/// Where a vault tells of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hub {
    /// The name, for its certificate too.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path, without `/hub` at its end.
    pub path: String,
}

impl Server {
    /// Reads `https://HOST[:PORT][/PATH]`; `None` is Bitwarden's cloud.
    ///
    /// # Errors
    /// `BadRequest` for anything else.
    pub fn parse(url: Option<&str>) -> Result<Self, Failure> {
        let url = url.unwrap_or("https://vault.bitwarden.com").trim_end_matches('/');
        let parsed = url.strip_prefix("https://").and_then(|rest| authority(rest.split('/').next()?));
        let (host, port) = parsed.ok_or_else(|| {
            Failure::new(
                ErrorName::BadRequest,
                "the server's URL is not of the form https://HOST[:PORT][/PATH]",
            )
        })?;
        Ok(Self { url: url.to_owned(), host: host.to_ascii_lowercase(), port })
    }

    /// The URL without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What `bw` calls it once it was told the URL: nothing, for the one by which
    /// it means its default.
    pub fn known_as(&self) -> Option<&str> {
        Some(self.url()).filter(|url| *url != DEFAULT)
    }

    /// The port that the relay may dial.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The names that this may need addresses of.
    pub fn hosts(&self) -> Vec<String> {
        let also = CLOUDS.iter().flat_map(|cloud| CLOUD_HOSTS.map(|name| format!("{name}.{cloud}")));
        let also = also.filter(|name| *name != self.host && self.allows(name, self.port));
        std::iter::once(self.host.clone()).chain(also).collect()
    }

    /// Where it tells of changes: where `notifications`, the vault's own word, says, if
    /// that is one of its hosts; else where Vaultwarden does.
    pub fn hub(&self, notifications: Option<&str>) -> Hub {
        let of = |url: &str| {
            let rest = url.strip_prefix("https://")?.trim_end_matches('/');
            let (first, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
            let (host, port) = authority(first)?;
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte);
            let path = path.bytes().all(plain).then(|| path.to_owned())?;
            Some(Hub { host: host.to_ascii_lowercase(), port, path })
        };
        let said = notifications.and_then(of).filter(|hub| self.allows(&hub.host, hub.port));
        let own = || of(&format!("{}/notifications", self.url));
        let none = || Hub { host: self.host.clone(), port: self.port, path: "/notifications".into() };
        said.or_else(own).unwrap_or_else(none)
    }

    /// Whether `bw` may talk to this host and port.
    pub fn allows(&self, host: &str, port: u16) -> bool {
        let host = host.to_ascii_lowercase();
        let cloud = CLOUDS.iter().find(|cloud| self.host == format!("vault.{cloud}") || self.host == **cloud);
        let also =
            cloud.is_some_and(|cloud| CLOUD_HOSTS.iter().any(|name| host == format!("{name}.{cloud}")));
        port == self.port && (host == self.host || also)
    }
}

fn authority(text: &str) -> Option<(&str, u16)> {
    let plain = |host: &str| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte))
    };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => text.find(':').map_or((text, ""), |at| text.split_at(at)),
    };
    let port = if port.is_empty() { 443 } else { port.strip_prefix(':')?.parse().ok()? };
    plain(host).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_relay_may_dial_the_server_and_nothing_else() {
        let server = Server::parse(Some("https://Vault.example:8443/path/")).unwrap();
        assert_eq!((server.url(), server.port()), ("https://Vault.example:8443/path", 8443));
        assert!(server.allows("vault.EXAMPLE", 8443));
        assert!(!server.allows("vault.example", 443) && !server.allows("api.vault.example", 8443));
        assert!(Server::parse(Some("https://[::1]:9")).unwrap().allows("::1", 9));
    }

    #[test]
    fn the_cloud_has_more_than_one_name() {
        let cloud = Server::parse(None).unwrap();
        assert!(cloud.allows("identity.bitwarden.com", 443) && cloud.allows("api.bitwarden.com", 443));
        let hosts = cloud.hosts();
        assert_eq!((hosts.len(), hosts[0].as_str()), (5, "vault.bitwarden.com"));
        assert!(hosts.iter().all(|host| cloud.allows(host, 443)));
        assert_eq!(Server::parse(Some("https://a.example")).unwrap().hosts(), ["a.example"]);
        assert!(!cloud.allows("api.bitwarden.eu", 443) && !cloud.allows("evil.bitwarden.com", 443));
        let known_as = |url: &str| Server::parse(Some(url)).unwrap().known_as().map(str::to_owned);
        assert_eq!(known_as("https://bitwarden.com/"), None);
        assert_eq!(known_as("https://bitwarden.eu").as_deref(), Some("https://bitwarden.eu"));
    }

    #[test]
    fn what_is_no_https_url_is_refused() {
        for url in
            ["http://a", "https://", "https://a b", "https://u@a", "https://a:b", "https://[::1", "a", ""]
        {
            assert_eq!(Server::parse(Some(url)).unwrap_err().name, ErrorName::BadRequest, "{url}");
        }
    }

    #[test]
    fn the_hub_is_one_of_the_vaults_own_hosts() {
        let hub = |url: &str, said: Option<&str>| {
            let hub = Server::parse(Some(url)).unwrap().hub(said);
            format!("{}:{}{}", hub.host, hub.port, hub.path)
        };
        let own = "https://vault.example.com/vw";
        assert_eq!(hub(own, None), "vault.example.com:443/vw/notifications");
        for other in
            ["https://evil.example.com/n", "http://vault.example.com/n", "https://vault.example.com/a b", ""]
        {
            assert_eq!(hub(own, Some(other)), "vault.example.com:443/vw/notifications", "{other}");
        }
        assert_eq!(hub(own, Some("https://VAULT.example.com/n/")), "vault.example.com:443/n");
        let cloud = "https://vault.bitwarden.com";
        assert_eq!(
            hub(cloud, Some("https://notifications.bitwarden.com")),
            "notifications.bitwarden.com:443"
        );
    }
}
