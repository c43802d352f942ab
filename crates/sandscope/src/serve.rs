//! `sandscope serve`.

mod bootstrap;
mod data_dir;
mod exports;
mod http;
mod signals;
