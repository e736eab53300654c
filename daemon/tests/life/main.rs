//! The real `colibrid` and the real writer, with a stand-in for the fetcher
//! that is told by a file what the vault holds: the life of a tenant, its
//! failures, and what a client of the control socket can and cannot do.

#[cfg(test)]
mod agents;
#[cfg(test)]
mod clients;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod confinement;
#[cfg(test)]
mod crashes;
#[cfg(test)]
#[cfg(target_os = "freebsd")]
mod devfs;
#[cfg(test)]
mod files;
#[cfg(test)]
mod host;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod hostile;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod hung;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod load;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod mounts;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod places;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod roots;
#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod system;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod watching;
