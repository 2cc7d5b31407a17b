//! The little HTTP that tests speak.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{canary, within};

/// An answer: status and body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends a whole request and reads the whole answer.
pub async fn exchange(addr: SocketAddr, request: &str) -> Answer {
    let answer = within("an HTTP answer", async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    })
    .await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    if status >= 400 {
        canary::told("an HTTP answer", &answer);
    } else if let Ok(message) = serde_json::from_str(body) {
        canary::learn(&message);
    }
    Answer { status, body: body.to_owned() }
}

pub async fn get(addr: SocketAddr, path: &str) -> Answer {
    exchange(addr, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
}

pub async fn post(addr: SocketAddr, path: &str, body: &Value) -> Answer {
    canary::learn(body);
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(addr, &request).await
}

/// Sends bytes and reads whatever comes back until the server hangs up.
pub async fn exchange_bytes(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    within("the server to hang up", async {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // A reset after the answer ends it as well.
        let _ = stream.read_to_end(&mut answer).await;
        answer
    })
    .await
}
