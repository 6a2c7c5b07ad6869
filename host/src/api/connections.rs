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
/// How long a connection may take.
const PATIENCE: Patience = Patience {
    head: HEAD_TIME_MAX,
    idle: Duration::from_secs(75),
    unread: Duration::from_secs(30),
};
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
                    Ok((Watched::new(stream, PATIENCE, counted), service))
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

/// How long a connection may take.
#[derive(Clone, Copy)]
struct Patience {
    /// For its first bytes.
    head: Duration,
    /// With nothing that moves either way. More than a request may take, and more than lies between two signs of life
    /// of a subscription.
    idle: Duration,
    /// With an answer that the client leaves unread while more of it waits.
    unread: Duration,
}

/// A connection that fails when nothing moves on it.
pub(super) struct Watched {
    stream: TcpStream,
    patience: Patience,
    _place: Place,
    began: Instant,
    read: usize,
    moved: Instant,
    /// Since when something waits to be written.
    unread_since: Option<Instant>,
    alarm: Pin<Box<Sleep>>,
}

impl Watched {
    fn new(stream: TcpStream, patience: Patience, place: Place) -> Self {
        let now = Instant::now();
        Self {
            stream,
            patience,
            _place: place,
            began: now,
            read: 0,
            moved: now,
            unread_since: None,
            alarm: Box::pin(sleep_until(now + patience.head)),
        }
    }

    /// When it fails if nothing happens.
    fn end(&self) -> Instant {
        let mut end = self.moved + self.patience.idle;
        if self.read < FIRST_BYTES {
            end = end.min(self.began + self.patience.head);
        }
        if let Some(since) = self.unread_since {
            end = end.min(since + self.patience.unread);
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Long enough for a busy machine to tell one limit from none at all.
    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(200);

    /// A watched connection, and who is at its other end.
    async fn pair(patience: Patience) -> (Watched, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("an address"));
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (stream, _) = accepted.expect("a connection");
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned();
        let counted = (
            place.expect("a place"),
            Arc::new(HttpMeter::default()).connection(),
        );
        (
            Watched::new(stream, patience, counted),
            client.expect("connected"),
        )
    }

    fn patience() -> Patience {
        Patience {
            head: LONG,
            idle: LONG,
            unread: LONG,
        }
    }

    /// That it failed, for the reason that it took too long, and not at once.
    #[track_caller]
    fn assert_late<T: std::fmt::Debug>(outcome: io::Result<T>, began: Instant) {
        let error = outcome.expect_err("it took too long");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        assert!(began.elapsed() >= SHORT, "after {:?}", began.elapsed());
    }

    #[tokio::test]
    async fn who_does_not_say_which_http_it_is_is_cut() {
        let (mut watched, mut client) = pair(Patience {
            head: SHORT,
            ..patience()
        })
        .await;
        let began = Instant::now();
        client.write_all(b"GET / HTTP").await.expect("written");
        let mut room = [0; 64];
        assert_eq!(watched.read(&mut room).await.expect("its bytes"), 10);
        assert_late(watched.read(&mut room).await, began);
    }

    #[tokio::test]
    async fn who_said_it_may_take_its_time_until_it_is_idle() {
        let (mut watched, mut client) = pair(Patience {
            head: SHORT,
            idle: 3 * SHORT,
            ..patience()
        })
        .await;
        let mut room = [0; 64];
        client.write_all(&[b'x'; FIRST_BYTES]).await.expect("written");
        watched
            .read_exact(&mut room[..FIRST_BYTES])
            .await
            .expect("its bytes");
        let began = Instant::now();
        assert_late(watched.read(&mut room).await, began);
        assert!(began.elapsed() >= 3 * SHORT, "the head was there");
    }

    #[tokio::test]
    async fn who_leaves_an_answer_unread_is_cut() {
        let (mut watched, mut client) = pair(Patience {
            unread: SHORT,
            ..patience()
        })
        .await;
        client.write_all(&[b'x'; FIRST_BYTES]).await.expect("written");
        watched
            .read_exact(&mut [0; FIRST_BYTES])
            .await
            .expect("its bytes");
        let began = Instant::now();
        let answer = vec![b'y'; 64 << 20];
        assert_late(watched.write_all(&answer).await, began);
    }

    #[tokio::test]
    async fn who_reads_slowly_but_reads_is_served() {
        let (mut watched, mut client) = pair(Patience {
            unread: 5 * SHORT,
            ..patience()
        })
        .await;
        let answer = vec![b'y'; 8 << 20];
        let reading = tokio::spawn(async move {
            let (mut read, mut room) = (0, vec![0; 1 << 20]);
            loop {
                match client.read(&mut room).await.expect("the answer") {
                    0 => break read,
                    bytes => read += bytes,
                }
                tokio::time::sleep(SHORT / 4).await;
            }
        });
        watched.write_all(&answer).await.expect("written");
        drop(watched);
        assert_eq!(reading.await.expect("no panic"), answer.len());
    }

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
