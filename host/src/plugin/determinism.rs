//! The WASI that guests get: it grants nothing, and each call sees the same time and the same chance.
//!
//! Clocks start at one instant in every call and advance by a tick a reading; a sleep is over at once and the clock
//! is then past it. Randomness has one seed. There are no arguments, no environment, no files; sockets link (language
//! runtimes import them) and are denied. What the guest prints becomes log lines.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::bindings::{clocks, random};
use wasmtime_wasi::p2::{DynPollable, OutputStream, Pollable, StreamError, subscribe};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::log_book::LogBook;

/// 2000-01-01T00:00:00Z in seconds since 1970, as in the adapter for preview 1.
const START_SECONDS: u64 = 946_684_800;
/// What one reading advances a clock by.
const TICK_NANOS: u64 = 1_000;
/// The one seed of every generator.
const SEED: u64 = 0x2545_F491_4F6C_DD1D;
/// Largest answer to one request for random bytes.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// The WASI of one call. Most guests from Rust import none of it, so that its costly part is made when first needed.
pub(super) struct Wasi {
    context: Option<WasiCtx>,
    table: ResourceTable,
    clock: Arc<AtomicU64>,
    random: Random,
    insecure: Random,
    log: LogBook,
}

impl Wasi {
    pub(super) fn new(log: LogBook) -> Self {
        Self {
            context: None,
            table: ResourceTable::new(),
            clock: Arc::new(AtomicU64::new(0)),
            random: Random(SEED),
            insecure: Random(SEED.rotate_left(32)),
            log,
        }
    }

    pub(super) fn view(&mut self) -> WasiCtxView<'_> {
        let log = &self.log;
        let ctx = self.context.get_or_insert_with(|| {
            let mut builder = WasiCtxBuilder::new();
            builder
                .stdout(Printer::new(log, "info"))
                .stderr(Printer::new(log, "warn"))
                .allow_tcp(false)
                .allow_udp(false)
                .allow_ip_name_lookup(false);
            builder.build()
        });
        WasiCtxView {
            ctx,
            table: &mut self.table,
        }
    }

    fn clock(&mut self) -> Clock<'_> {
        Clock {
            nanos: &self.clock,
            table: &mut self.table,
        }
    }
}

/// Adds WASI 0.2, with our own clocks and randomness in the places of the real ones.
pub(super) fn add_to_linker<T: WasiView + HasWasi>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    linker.allow_shadowing(true);
    clocks::wall_clock::add_to_linker::<T, HasClock>(linker, |state| state.wasi().clock())?;
    clocks::monotonic_clock::add_to_linker::<T, HasClock>(linker, |state| state.wasi().clock())?;
    random::random::add_to_linker::<T, HasRandom>(linker, |state| &mut state.wasi().random)?;
    random::insecure::add_to_linker::<T, HasRandom>(linker, |state| &mut state.wasi().insecure)?;
    random::insecure_seed::add_to_linker::<T, HasRandom>(linker, |state| &mut state.wasi().insecure)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// A store's data that holds a [`Wasi`].
pub(super) trait HasWasi {
    fn wasi(&mut self) -> &mut Wasi;
}

struct HasClock;

impl HasData for HasClock {
    type Data<'a> = Clock<'a>;
}

struct Clock<'a> {
    /// Since the start of the call.
    nanos: &'a Arc<AtomicU64>,
    table: &'a mut ResourceTable,
}

impl Clock<'_> {
    /// A reading: the time, which then moves on.
    fn read(&self) -> u64 {
        self.nanos.fetch_add(TICK_NANOS, Ordering::Relaxed)
    }

    fn sleep(&mut self, until: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let sleep = self.table.push(Sleep {
            clock: self.nanos.clone(),
            until,
        })?;
        subscribe(self.table, sleep)
    }
}

impl clocks::wall_clock::Host for Clock<'_> {
    fn now(&mut self) -> wasmtime::Result<clocks::wall_clock::Datetime> {
        let nanos = self.read();
        Ok(clocks::wall_clock::Datetime {
            seconds: START_SECONDS.saturating_add(nanos / 1_000_000_000),
            nanoseconds: u32::try_from(nanos % 1_000_000_000).unwrap_or(0),
        })
    }

    fn resolution(&mut self) -> wasmtime::Result<clocks::wall_clock::Datetime> {
        Ok(clocks::wall_clock::Datetime {
            seconds: 0,
            nanoseconds: 1_000,
        })
    }
}

impl clocks::monotonic_clock::Host for Clock<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(self.read())
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(TICK_NANOS)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.sleep(when)
    }

    fn subscribe_duration(&mut self, nanos: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let until = self.nanos.load(Ordering::Relaxed).saturating_add(nanos);
        self.sleep(until)
    }
}

/// A wait for a clock. Nothing else can happen meanwhile, so that the time is simply over.
struct Sleep {
    clock: Arc<AtomicU64>,
    until: u64,
}

impl Pollable for Sleep {
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        self.clock.fetch_max(self.until, Ordering::Relaxed);
        Box::pin(std::future::ready(()))
    }
}

struct HasRandom;

impl HasData for HasRandom {
    type Data<'a> = &'a mut Random;
}

/// SplitMix64: short, and good enough for hash seeds and identifiers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        if len > RANDOM_BYTES_MAX {
            wasmtime::bail!(
                "the plugin asked for {len} random bytes at once; {RANDOM_BYTES_MAX} are allowed"
            );
        }
        let len = usize::try_from(len)?;
        let mut bytes: Vec<u8> = (0..len.div_ceil(8))
            .flat_map(|_| self.next().to_le_bytes())
            .collect();
        bytes.truncate(len);
        Ok(bytes)
    }
}

impl random::random::Host for Random {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(len)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.next())
    }
}

impl random::insecure::Host for Random {
    fn get_insecure_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.bytes(len)
    }

    fn get_insecure_random_u64(&mut self) -> wasmtime::Result<u64> {
        Ok(self.next())
    }
}

impl random::insecure_seed::Host for Random {
    fn insecure_seed(&mut self) -> wasmtime::Result<(u64, u64)> {
        Ok((SEED, SEED.rotate_left(32)))
    }
}

/// Standard output or error: whole lines go to the log book, the rest when the call is over.
#[derive(Clone)]
struct Printer(Arc<Mutex<Printed>>);

struct Printed {
    log: LogBook,
    level: &'static str,
    line: Vec<u8>,
}

/// A line without an end is written when it is this long.
const PRINTED_LINE_BYTES_MAX: usize = 64 << 10;

impl Printer {
    fn new(log: &LogBook, level: &'static str) -> Self {
        Self(Arc::new(Mutex::new(Printed {
            log: log.clone(),
            level,
            line: Vec::new(),
        })))
    }

    fn print(&self, bytes: &[u8]) {
        let mut printed = self.0.lock();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            printed.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || printed.line.len() >= PRINTED_LINE_BYTES_MAX {
                printed.end_line();
            }
        }
    }
}

impl Printed {
    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        if !text.trim().is_empty() {
            self.log.write(self.level, &text);
        }
    }
}

impl Drop for Printed {
    fn drop(&mut self) {
        self.end_line();
    }
}

impl IsTerminal for Printer {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printer {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Printer {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.print(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(PRINTED_LINE_BYTES_MAX)
    }
}

impl Pollable for Printer {
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(()))
    }
}

impl AsyncWrite for Printer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.print(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
