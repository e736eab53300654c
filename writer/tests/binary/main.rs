//! The real colibri-writer on a real socketpair.

#[cfg(all(test, target_os = "linux"))]
mod capabilities;
#[cfg(test)]
mod compare;
#[cfg(test)]
mod confinement;
#[cfg(all(test, target_os = "freebsd"))]
mod disks;
#[cfg(test)]
mod further;
#[cfg(test)]
mod hostile;
// On Linux it is refused, which confinement.rs shows.
#[cfg(all(test, target_os = "freebsd"))]
mod inherited;
#[cfg(test)]
mod jail;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod ordinary;
#[cfg(test)]
mod roots;
#[cfg(test)]
mod system;
#[cfg(test)]
mod targets;
#[cfg(test)]
mod trees;
