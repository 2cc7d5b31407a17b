//! A WebSocket client of bare bytes, for what no decent client would send.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::within;

/// A connection on which anything may be written.
pub struct RawClient {
    stream: TcpStream,
    /// Read and not yet looked at.
    rest: Vec<u8>,
}

/// The head of a good handshake; a test changes what it likes.
pub fn handshake(path: &str, extra: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
    )
}

pub const SUBPROTOCOL: &str = "sec-websocket-protocol: porchlight.v1\r\n";

impl RawClient {
    /// Connects and sends this head; returns the status, too.
    pub async fn open(addr: SocketAddr, head: &str) -> (u16, Self) {
        within("an answer to the handshake", async {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let end = loop {
                if let Some(at) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
                    break at + 4;
                }
                assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "the answer ends in its head");
            };
            let rest = answer.split_off(end);
            let text = String::from_utf8(answer).unwrap();
            let status = text.split(' ').nth(1).unwrap().parse().unwrap();
            (status, Self { stream, rest })
        })
        .await
    }

    /// A connection past the handshake.
    pub async fn upgraded(addr: SocketAddr, path: &str) -> Self {
        let (status, client) = Self::open(addr, &handshake(path, SUBPROTOCOL)).await;
        assert_eq!(status, 101);
        client
    }

    /// Writes bytes as they are; says whether the server still took them.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        within("room to write", self.stream.write_all(bytes)).await.is_ok()
    }

    /// Writes one masked WebSocket frame.
    pub async fn frame(&mut self, first: u8, payload: &[u8]) -> bool {
        self.write(&masked(first, payload)).await
    }

    /// Reads until the server closes; returns the code of its close frame, if there was one. Whatever came
    /// before it is skipped.
    pub async fn close_code(mut self) -> Option<u16> {
        within("the end of the connection", async {
            let mut code = None;
            loop {
                while let Some((opcode, payload, len)) = unmasked(&self.rest) {
                    if opcode == 8 && payload.len() >= 2 {
                        code = Some(u16::from_be_bytes([payload[0], payload[1]]));
                    }
                    self.rest.drain(..len);
                }
                if code.is_some() {
                    return code;
                }
                match self.stream.read_buf(&mut self.rest).await {
                    Ok(0) | Err(_) => return code,
                    Ok(_) => {}
                }
            }
        })
        .await
    }
}

impl RawClient {
    /// Reads, and answers nothing, until the server has dropped the connection.
    pub async fn dropped(mut self) {
        within("the server to drop the connection", async {
            while !matches!(self.stream.read_buf(&mut self.rest).await, Ok(0) | Err(_)) {}
        })
        .await;
    }
}

/// One frame with a zero mask.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out
}

/// The first frame of the server, if it is all there: opcode, payload, length.
fn unmasked(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (head, len) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize),
        len => (2, usize::from(len)),
    };
    Some((first & 0x0f, bytes.get(head..head + len)?, head + len))
}
