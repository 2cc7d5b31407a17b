//! One WebSocket over any byte stream: the framing is tungstenite's, the writing of data is shared.
//!
//! Data frames go out as a header of a few bytes and a payload shared with every other receiver, in one
//! vectored write: nothing is copied, masked or buffered per receiver. What tungstenite answers by itself
//! (pongs, the close handshake) goes through its own small buffer. Both meet in [`Wire`], which keeps their
//! bytes from mixing: tungstenite's bytes are written only when the shared queue is empty, and the queue is
//! fed only when tungstenite's buffer is flushed.
//!
//! Bounds: the largest message, the bytes that may arrive without completing one (endless fragments), and
//! the shared queue, which the caller fills only while it is short.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, FrameHeader};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::limits;
use crate::wire::close::Close;

/// Longest header of an unmasked frame (RFC 6455, 5.2).
const PREFIX: usize = 10;

/// Slices in one vectored write: eight frames.
const SLICES: usize = 16;

/// Bytes in the shared queue beyond which the caller should wait. Two large frames keep a socket busy; more
/// would only make them older.
pub(super) const QUEUE_BYTES: usize = 128 * 1024;

/// Sizes that differ between the three sockets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Largest message.
    pub message: usize,
    /// Buffer for reading. Small for the many idle, large for publishers.
    pub read_buffer: usize,
}

/// What came from the peer.
#[derive(Debug)]
pub(super) enum Received {
    /// A text message, or text in a binary one.
    Text(tungstenite::Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A sign of life (ping or pong).
    Life,
    /// The peer closed, properly.
    Closed,
}

/// Why reading ended otherwise.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The peer is gone without a close frame.
    #[error("connection lost")]
    Lost(#[source] io::Error),
    /// The peer broke the protocol (RFC 6455).
    #[error("{0}")]
    Protocol(String),
    /// A message over its limit, or endless fragments.
    #[error("message exceeds {0} bytes")]
    TooLarge(usize),
}

/// A part of the shared queue: the header in front, and the payload.
#[derive(Debug)]
struct Chunk {
    prefix: [u8; PREFIX],
    prefix_len: u8,
    payload: Bytes,
    /// Bytes of both that are written.
    written: usize,
}

impl Chunk {
    fn new(opcode: Data, payload: Bytes) -> Self {
        let header = FrameHeader { opcode: OpCode::Data(opcode), ..FrameHeader::default() };
        let mut prefix = [0; PREFIX];
        let mut rest = &mut prefix[..];
        header.format(payload.len() as u64, &mut rest).expect("an unmasked header is at most ten bytes");
        let prefix_len = (PREFIX - rest.len()) as u8;
        Self { prefix, prefix_len, payload, written: 0 }
    }

    fn len(&self) -> usize {
        usize::from(self.prefix_len) + self.payload.len()
    }

    /// What is still to be written.
    fn slices(&self) -> [&[u8]; 2] {
        let prefix = &self.prefix[..usize::from(self.prefix_len)];
        if self.written < prefix.len() {
            [&prefix[self.written..], &self.payload]
        } else {
            [&[], &self.payload[self.written - prefix.len()..]]
        }
    }
}

/// The shared queue of data frames.
#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Chunk>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.len();
        self.chunks.push_back(chunk);
    }

    /// Writes until all is written. The count tells that there was progress even when it stays pending.
    fn poll_drain<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        progress: &mut u64,
    ) -> Poll<io::Result<()>> {
        while !self.chunks.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for part in self.chunks.iter().flat_map(Chunk::slices).filter(|part| !part.is_empty()) {
                if count == SLICES {
                    break;
                }
                slices[count] = IoSlice::new(part);
                count += 1;
            }
            let written = ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices[..count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *progress += written as u64;
            self.advance(written);
        }
        // Idle connections keep no queue.
        self.chunks = VecDeque::new();
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.chunks.front_mut() {
            let left = first.len() - first.written;
            if written < left {
                first.written += written;
                return;
            }
            written -= left;
            self.chunks.pop_front();
        }
    }
}

/// The byte stream as tungstenite sees it during one poll.
struct Wire<'a, 'c, S> {
    stream: &'a mut S,
    queue: &'a mut Queue,
    progress: &'a mut u64,
    /// Bytes read since the last whole message, and how many there may be.
    unfinished: &'a mut usize,
    limit: usize,
    cx: &'a mut Context<'c>,
}

impl<S: AsyncRead + Unpin> Read for Wire<'_, '_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Checked here, because tungstenite reads on as long as a fast peer keeps sending fragments.
        if *self.unfinished > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut buffer = ReadBuf::new(buffer);
        match Pin::new(&mut *self.stream).poll_read(self.cx, &mut buffer) {
            Poll::Ready(Ok(())) => {
                *self.unfinished += buffer.filled().len();
                Ok(buffer.filled().len())
            }
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<S: AsyncWrite + Unpin> Write for Wire<'_, '_, S> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self.queue.poll_drain(self.stream, self.cx, self.progress) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
        }
        match Pin::new(&mut *self.stream).poll_write(self.cx, buffer) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match Pin::new(&mut *self.stream).poll_flush(self.cx) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// A WebSocket, server side. Polled by one task only.
#[derive(Debug)]
pub(super) struct Socket<S> {
    stream: S,
    context: WebSocketContext,
    queue: Queue,
    progress: u64,
    unfinished: usize,
    limit: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Takes over an upgraded stream with the bytes that were read beyond the upgrade.
    pub(super) fn new(stream: S, read_ahead: &[u8], sizes: Sizes) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(sizes.read_buffer)
            .write_buffer_size(0)
            .max_write_buffer_size(4 * 1024)
            .max_message_size(Some(sizes.message))
            .max_frame_size(Some(sizes.message));
        let context = if read_ahead.is_empty() {
            WebSocketContext::new(Role::Server, Some(config))
        } else {
            WebSocketContext::from_partially_read(read_ahead.to_vec(), Role::Server, Some(config))
        };
        Self { stream, context, queue: Queue::default(), progress: 0, unfinished: 0, limit: sizes.message }
    }

    /// Changes the largest message.
    pub(super) fn allow(&mut self, message: usize) {
        self.limit = message;
        self.context.set_config(|config| {
            config.max_message_size = Some(message);
            config.max_frame_size = Some(message);
        });
    }

    /// Reads the next message. Also writes what the protocol itself has to say.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, ReadError>> {
        let result = {
            let (context, mut wire) = self.split(cx);
            context.read(&mut wire)
        };
        let message = match result {
            Ok(message) => message,
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                return Poll::Pending;
            }
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
                return Poll::Ready(Err(ReadError::TooLarge(self.limit)));
            }
            Err(error) => return Poll::Ready(self.explain(error)),
        };
        // A flood of whole messages is for the rate limits; here only one that never ends counts.
        self.unfinished = 0;
        Poll::Ready(match message {
            Message::Text(text) => Ok(Received::Text(text)),
            Message::Binary(bytes) => Ok(Received::Binary(bytes)),
            Message::Ping(_) | Message::Pong(_) => Ok(Received::Life),
            Message::Close(_) => Ok(Received::Closed),
            Message::Frame(_) => Err(ReadError::Protocol("a raw frame".to_owned())),
        })
    }

    /// Queues a text message, unmasked and shared.
    pub(super) fn queue_text(&mut self, payload: Bytes) {
        self.queue.push(Chunk::new(Data::Text, payload));
    }

    /// Queues a binary message, unmasked and shared.
    pub(super) fn queue_binary(&mut self, payload: Bytes) {
        self.queue.push(Chunk::new(Data::Binary, payload));
    }

    /// Whether there is room for more in the queue.
    pub(super) fn has_room(&self) -> bool {
        self.queue.bytes < QUEUE_BYTES
    }

    /// Whether something waits to be written.
    pub(super) fn is_writing(&self) -> bool {
        self.queue.bytes > 0
    }

    /// Bytes of data written so far.
    pub(super) fn progress(&self) -> u64 {
        self.progress
    }

    /// Writes all that waits. Call until ready before queueing.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ReadError>> {
        ready!(self.queue.poll_drain(&mut self.stream, cx, &mut self.progress)).map_err(ReadError::Lost)?;
        let (context, mut wire) = self.split(cx);
        match context.flush(&mut wire) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            Err(error) => Poll::Ready(self.explain(error).map(drop)),
        }
    }

    /// Queues a ping. Call [`Self::poll_flush`] after.
    pub(super) fn ping(&mut self, cx: &mut Context<'_>) -> Result<(), ReadError> {
        let (context, mut wire) = self.split(cx);
        let result = context.write(&mut wire, Message::Ping(Bytes::new()));
        self.settle(result)
    }

    /// Queues the close frame. Call [`Self::poll_flush`] after.
    pub(super) fn close(&mut self, cx: &mut Context<'_>, close: &Close) -> Result<(), ReadError> {
        let frame = CloseFrame {
            code: close.code.code().into(),
            // A close frame holds 125 bytes, two of them the code.
            reason: crate::wire::message::clip(&close.reason, 123).into(),
        };
        let (context, mut wire) = self.split(cx);
        let result = context.close(&mut wire, Some(frame));
        self.settle(result)
    }

    /// Reads and forgets until the peer closes. Call after a close was flushed.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 4 * 1024];
        let mut shut = Poll::Pending;
        loop {
            if shut.is_pending() {
                shut = Pin::new(&mut self.stream).poll_shutdown(cx);
            }
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if buffer.filled().is_empty() => return Poll::Ready(()),
                Ok(()) => {}
                Err(_) => return Poll::Ready(()),
            }
        }
    }

    fn settle(&self, result: tungstenite::Result<()>) -> Result<(), ReadError> {
        match result {
            Ok(()) => Ok(()),
            // What could not be written stays queued; `poll_flush` goes on with it.
            Err(tungstenite::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => self.explain(error).map(drop),
        }
    }

    fn explain(&self, error: tungstenite::Error) -> Result<Received, ReadError> {
        use tungstenite::Error;
        use tungstenite::error::ProtocolError;
        match error {
            Error::ConnectionClosed | Error::AlreadyClosed => Ok(Received::Closed),
            Error::Io(error) => Err(ReadError::Lost(error)),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Err(ReadError::Lost(io::ErrorKind::ConnectionReset.into()))
            }
            Error::Capacity(_) => Err(ReadError::TooLarge(self.limit)),
            other => Err(ReadError::Protocol(other.to_string())),
        }
    }

    fn split<'a, 'c>(&'a mut self, cx: &'a mut Context<'c>) -> (&'a mut WebSocketContext, Wire<'a, 'c, S>) {
        let wire = Wire {
            stream: &mut self.stream,
            queue: &mut self.queue,
            progress: &mut self.progress,
            unfinished: &mut self.unfinished,
            limit: self.limit + limits::FRAGMENT_OVERHEAD + self.context.get_config().read_buffer_size,
            cx,
        };
        (&mut self.context, wire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{SinkExt, StreamExt};
    use std::future::poll_fn;
    use tokio_tungstenite::WebSocketStream;

    const SIZES: Sizes = Sizes { message: 64 * 1024, read_buffer: 512 };

    async fn pair(
        pipe: usize,
    ) -> (Socket<tokio::io::DuplexStream>, WebSocketStream<tokio::io::DuplexStream>) {
        let (server, client) = tokio::io::duplex(pipe);
        (Socket::new(server, &[], SIZES), WebSocketStream::from_raw_socket(client, Role::Client, None).await)
    }

    async fn flush(socket: &mut Socket<tokio::io::DuplexStream>) {
        poll_fn(|cx| socket.poll_flush(cx)).await.unwrap();
    }

    #[tokio::test]
    async fn messages_of_every_length_arrive_whole_and_in_order() {
        let (mut socket, mut client) = pair(1_000).await;
        let sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 100_000];
        let sent: Vec<_> = sizes.iter().map(|&n| Bytes::from(vec![b'x'; n])).collect();
        let expected = sent.clone();
        let reader = tokio::spawn(async move {
            for payload in expected {
                assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary(payload));
            }
        });
        for payload in sent {
            socket.queue_binary(payload);
        }
        flush(&mut socket).await;
        reader.await.unwrap();
    }

    /// A pong that tungstenite writes by itself must not land inside a shared frame, however short the
    /// writes are.
    #[tokio::test]
    async fn pongs_do_not_cut_frames_in_two() {
        let (mut socket, client) = pair(7).await;
        let rounds = 200;
        let peer = tokio::spawn(async move {
            let (mut pongs, mut frames) = (0, 0);
            let (mut write, mut read) = client.split();
            let pings = tokio::spawn(async move {
                for _ in 0..rounds {
                    write.send(Message::Ping(Bytes::from_static(b"hi"))).await.unwrap();
                }
                write
            });
            while frames < rounds {
                match read.next().await.unwrap().unwrap() {
                    Message::Binary(bytes) => {
                        assert_eq!(bytes, vec![b'f'; 300]);
                        frames += 1;
                    }
                    Message::Pong(bytes) => {
                        assert_eq!(bytes, "hi");
                        pongs += 1;
                    }
                    other => panic!("{other}"),
                }
            }
            drop(pings.await.unwrap());
            pongs
        });
        let mut queued = 0;
        poll_fn(|cx| {
            loop {
                match socket.poll_flush(cx) {
                    Poll::Ready(result) => {
                        result.unwrap();
                        if queued == rounds {
                            return Poll::Ready(());
                        }
                        queued += 1;
                        socket.queue_binary(Bytes::from(vec![b'f'; 300]));
                    }
                    Poll::Pending => match socket.poll_read(cx) {
                        Poll::Ready(Ok(Received::Life)) => continue,
                        Poll::Ready(other) => panic!("{other:?}"),
                        Poll::Pending => return Poll::Pending,
                    },
                }
            }
        })
        .await;
        assert!(peer.await.unwrap() > 0, "some pongs came between the frames");
    }

    #[tokio::test]
    async fn endless_empty_fragments_end() {
        let (server, mut client) = tokio::io::duplex(1024);
        let mut socket = Socket::new(server, &[], SIZES);
        let flood = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            let mut sent = 0usize;
            // A text frame without FIN, then continuations without FIN, each empty and masked.
            let mut next: &[u8] = &[0x01, 0x80, 0, 0, 0, 0];
            while client.write_all(next).await.is_ok() {
                sent += next.len();
                next = &[0x00, 0x80, 0, 0, 0, 0];
                assert!(sent < 10 * SIZES.message, "nobody stopped it");
            }
        });
        let error = poll_fn(|cx| socket.poll_read(cx)).await.unwrap_err();
        assert!(matches!(error, ReadError::TooLarge(_)), "{error}");
        drop(socket);
        flood.await.unwrap();
    }

    #[tokio::test]
    async fn oversize_is_told_apart_from_a_broken_protocol() {
        let (mut socket, mut client) = pair(1 << 20).await;
        client.send(Message::Binary(vec![0; SIZES.message + 1].into())).await.unwrap();
        assert!(matches!(poll_fn(|cx| socket.poll_read(cx)).await, Err(ReadError::TooLarge(_))));

        let (server, mut client) = tokio::io::duplex(1024);
        let mut socket = Socket::new(server, &[], SIZES);
        tokio::io::AsyncWriteExt::write_all(&mut client, &[0xff; 32]).await.unwrap();
        assert!(matches!(poll_fn(|cx| socket.poll_read(cx)).await, Err(ReadError::Protocol(_))));
    }

    #[tokio::test]
    async fn bytes_read_ahead_are_not_lost() {
        let (server, mut client) = tokio::io::duplex(1024);
        // "hi" masked with zeroes; all but the last byte came with the upgrade.
        let mut socket = Socket::new(server, &[0x81, 0x82, 0, 0, 0, 0, b'h'], SIZES);
        tokio::io::AsyncWriteExt::write_all(&mut client, b"i").await.unwrap();
        let Received::Text(text) = poll_fn(|cx| socket.poll_read(cx)).await.unwrap() else { panic!("text") };
        assert_eq!(text.as_str(), "hi");
    }
}
