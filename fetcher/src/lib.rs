//! The unprivileged half of the pair: one `bw` session that answers requests
//! for collections. The daemon uses only [`words`].

pub mod words;
