//! Connections: so many at a time, and none on which nothing moves.
//!
//! HTTP itself is bounded by `server`; here is what it does not see: the first bytes, by which the version of HTTP is
//! told, answers that nobody reads, and connections that are kept and never used.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::metrics::{HttpMeter, Open};
use crate::telemetry::Event;
use crate::telemetry::events::ConnectionsFull;

/// Time for the first bytes of a connection, and for the head of each request.
pub(super) const HEAD_TIME_MAX: Duration = Duration::from_secs(15);
/// Bytes that tell which HTTP it is: the preface of HTTP/2. No request that names its host is shorter.
const FIRST_BYTES: usize = 24;
/// A connection on which nothing moves either way for so long is closed. More than a request may take, and more than
/// lies between two signs of life of a subscription.
const IDLE_TIME_MAX: Duration = Duration::from_secs(75);
/// How long a client may leave an answer unread while more of it waits.
const UNREAD_TIME_MAX: Duration = Duration::from_secs(30);
/// Clients at a time that are told that there is no place. More are closed without a word.
const TOLD_MAX: usize = 32;
/// Time to tell one.
const TELLING_TIME_MAX: Duration = Duration::from_secs(1);
/// Between two lines of the log about it.
const FULL_SAID_EVERY: Duration = Duration::from_secs(10);

/// What a client hears for whom there is no place.
const FULL: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\
                    retry-after: 1\r\ncontent-length: 145\r\n\r\n\
                    {\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"the host has as many connections as it may have ([host] connections_max); try again later\"}";

/// Gives each connection a place, and takes it away.
#[derive(Clone)]
pub(super) struct Door {
    places: Arc<Semaphore>,
    places_max: usize,
    address: SocketAddr,
    meter: Arc<HttpMeter>,
    /// Who may be told that there is none; None where words would have to be encrypted first.
    told: Option<Arc<Semaphore>>,
    said: Arc<parking_lot::Mutex<Option<Instant>>>,
}

impl Door {
    /// With so many places, for who comes to `address`.
    pub(super) fn new(places_max: usize, address: SocketAddr, meter: Arc<HttpMeter>, is_plain: bool) -> Self {
        let places_max = places_max.min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places_max)),
            places_max,
            address,
            meter,
            told: is_plain.then(|| Arc::new(Semaphore::new(TOLD_MAX))),
            said: Arc::default(),
        }
    }

    async fn turn_away(&self, stream: TcpStream) {
        {
            let mut said = self.said.lock();
            if said.is_none_or(|when| when.elapsed() >= FULL_SAID_EVERY) {
                *said = Some(Instant::now());
                ConnectionsFull {
                    address: &self.address.to_string(),
                    connections: self.places_max as u64,
                }
                .emit();
            }
        }
        let Some(Ok(_one_of_few)) = self.told.as_ref().map(|told| told.try_acquire()) else {
            return;
        };
        // Whatever goes wrong here, the client is gone.
        let _ = timeout(TELLING_TIME_MAX, async {
            stream.writable().await?;
            stream.try_write(FULL.as_bytes())?;
            let stream = stream.into_std()?;
            stream.shutdown(Shutdown::Write)?;
            let stream = TcpStream::from_std(stream)?;
            // What came must be read: a close with bytes unread takes the answer back.
            let mut room = [0; 4_096];
            loop {
                stream.readable().await?;
                match stream.try_read(&mut room) {
                    Ok(0) => return Ok(()),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        })
        .await;
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Door {
    type Stream = Watched;
    type Service = S;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Watched, S)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let place = self.places.clone().try_acquire_owned();
        let door = self.clone();
        Box::pin(async move {
            match place {
                Ok(place) => {
                    // Answers are small and whole: waiting for more to send would cost their reader 40 ms.
                    stream.set_nodelay(true)?;
                    let counted = (place, door.meter.connection());
                    Ok((Watched::new(stream, counted), service))
                }
                Err(_) => {
                    door.turn_away(stream).await;
                    Err(io::Error::other("there is no place for the connection"))
                }
            }
        })
    }
}

/// A place among those that there are, and in the number of those that are taken.
type Place = (OwnedSemaphorePermit, Open);

/// A connection that fails when nothing moves on it.
pub(super) struct Watched {
    stream: TcpStream,
    _place: Place,
    began: Instant,
    read: usize,
    moved: Instant,
    /// Since when something waits to be written.
    unread_since: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

impl Watched {
    fn new(stream: TcpStream, place: Place) -> Self {
        let now = Instant::now();
        Self {
            stream,
            _place: place,
            began: now,
            read: 0,
            moved: now,
            unread_since: None,
            alarm: Box::pin(sleep_until(now + HEAD_TIME_MAX)),
        }
    }

    /// When it fails if nothing happens.
    fn end(&self) -> Instant {
        let mut end = self.moved + IDLE_TIME_MAX;
        if self.read < FIRST_BYTES {
            end = end.min(self.began + HEAD_TIME_MAX);
        }
        if let Some(since) = self.unread_since {
            end = end.min(since + UNREAD_TIME_MAX);
        }
        end
    }

    /// For who has to wait: fails when it has been too long.
    fn wait<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        loop {
            let end = self.end();
            if Instant::now() >= end {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            // An alarm that rings early looks again; moving it at each byte would cost more.
            if self.alarm.deadline() > end || self.alarm.is_elapsed() {
                self.alarm.as_mut().reset(end);
            }
            if self.alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn written<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match written {
            Poll::Pending => {
                self.unread_since.get_or_insert_with(Instant::now);
                self.wait(context)
            }
            done => {
                self.unread_since = None;
                self.moved = Instant::now();
                done
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = room.filled().len();
        match Pin::new(&mut this.stream).poll_read(context, room) {
            Poll::Pending => this.wait(context),
            done => {
                this.read = this.read.saturating_add(room.filled().len() - before);
                this.moved = Instant::now();
                done
            }
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.written(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, bytes);
        this.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket keeps nothing back: there is nothing to wait for.
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_turned_away_gets_a_whole_answer() {
        let (head, body) = FULL.split_once("\r\n\r\n").expect("a head and a body");
        assert!(
            head.ends_with(&format!("content-length: {}", body.len())),
            "{}",
            body.len()
        );
        let problem: super::super::problem::Problem = serde_json::from_str(body).expect("a problem");
        assert_eq!(problem.status, 503);
    }
}
