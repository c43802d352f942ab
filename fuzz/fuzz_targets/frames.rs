#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sandscope_agent_protocol::fuzz::check("frames", data));
