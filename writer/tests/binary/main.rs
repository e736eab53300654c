//! The real colibri-writer on a real socketpair.

#[cfg(test)]
mod compare;
#[cfg(test)]
mod confinement;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod jail;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod ordinary;
#[cfg(test)]
mod roots;
#[cfg(test)]
mod targets;
#[cfg(test)]
mod trees;
