//! The shape of wire's first subscriber: reqwest's blocking client, a thread that reads lines, a channel to the daemon.
//!
//! Arguments: URL [CA file]. Standard output: `connected` at the first wake; when standard input ends, one JSON line
//! `{"kind": "event", "wakes": [[sequence, t_ns], …]}`. Times are CLOCK_MONOTONIC, as Python's `time.monotonic_ns()`.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::mpsc::{channel, RecvTimeoutError, Sender};
use std::time::Duration;

enum Wake {
    Event,
    End,
}

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

extern "C" {
    fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
}

const CLOCK_MONOTONIC: i32 = 1;

fn monotonic_ns() -> i64 {
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // std's Instant hides its epoch, and the sender's stamps must be comparable.
    unsafe { clock_gettime(CLOCK_MONOTONIC, &mut time) };
    time.seconds * 1_000_000_000 + time.nanoseconds
}

fn subscribe(url: &str, ca: Option<&str>, wake: Sender<Wake>) -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = reqwest::blocking::Client::builder().timeout(None).tcp_keepalive(Duration::from_secs(30));
    if let Some(path) = ca {
        builder = builder.add_root_certificate(reqwest::Certificate::from_pem(&std::fs::read(path)?)?);
    }
    let response = builder.build()?.get(url).header("Accept", "text/event-stream").send()?.error_for_status()?;
    for line in BufReader::new(response).lines() {
        if line?.starts_with("data:") {
            wake.send(Wake::Event)?;
        }
    }
    Err("the stream ended".into())
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let (url, ca) = (arguments[1].clone(), arguments.get(2).cloned());
    let (wake, wakes) = channel();
    let end = wake.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = end.send(Wake::End);
    });
    std::thread::spawn(move || {
        if let Err(error) = subscribe(&url, ca.as_deref(), wake) {
            println!("{{\"failed\": {:?}}}", error.to_string());
            std::process::exit(1);
        }
    });
    let mut stamps: Vec<i64> = Vec::with_capacity(1 << 16);
    loop {
        match wakes.recv_timeout(Duration::from_secs(5)) {
            Ok(Wake::Event) => {
                stamps.push(monotonic_ns());
                if stamps.len() == 1 {
                    println!("connected");
                }
            }
            Ok(Wake::End) | Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    let pairs: Vec<String> = stamps.iter().enumerate().map(|(n, t)| format!("[{n}, {t}]")).collect();
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{{\"kind\": \"event\", \"wakes\": [{}]}}", pairs.join(", "));
}
