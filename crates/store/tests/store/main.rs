//! The store on real files, as its users see it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod child;
mod deliveries;
mod durability;
mod exports;
mod facts;
mod full_disk;
mod home;
mod logs;
mod pages;
mod samples;
mod sealing;
mod support;
mod tail;
mod templates;
mod webhook_retention;
