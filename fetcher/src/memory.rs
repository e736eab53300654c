//! How much memory `bw` holds.

#[cfg_attr(target_os = "linux", path = "memory/procfs.rs")]
#[cfg_attr(target_os = "freebsd", path = "memory/ps.rs")]
mod platform;

pub use platform::{Gauge, counted};

/// The resident memory of all in a jail of that name, in KiB; `None` where the system
/// does not say.
pub async fn of_jail(name: &str) -> Option<u64> {
    platform::of_jail(name).await
}

#[cfg(test)]
mod tests {
    use super::platform::of;

    #[tokio::test]
    async fn the_memory_of_what_was_started_counts_too() {
        let own = of(std::process::id()).await.unwrap();
        let mut child = tokio::process::Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap();
        let child_alone = of(child.id().unwrap()).await.unwrap();
        assert!(own > 1024 && child_alone > 0 && child_alone < own, "{own} {child_alone}");
        child.kill().await.unwrap();
        assert_eq!(of(u32::MAX).await, None);
    }
}
