//! Whose connection a proxy brings, as it tells before the client's first byte (PROXY protocol, versions 1 and 2).
//!
//! Decides what such a header says; the format is the library's. Takes exactly the header's bytes off the stream, so
//! that whoever reads on finds the client's first. Does not decide whom to believe. Called by the listener for each
//! connection, where the settings ask for it.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ppp::v2::{Command, Protocol};
use ppp::{v1, v2};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use crate::limits;

/// Bytes that tell the versions apart. No header is shorter.
const KIND: usize = v2::PROTOCOL_PREFIX.len();

/// Bytes of a header of version 2 up to the end of its length.
const FIXED: usize = KIND + 4;

/// Longest line of version 1, with its end (2.1 of the specification).
const LINE: usize = 107;

/// Why a connection is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadHeader {
    /// It begins with something else.
    #[error("it does not begin with a PROXY header")]
    Missing,
    /// It begins like one.
    #[error("its PROXY header can't be read: {0}")]
    Malformed(String),
    /// It says to be longer than it may.
    #[error("its PROXY header of {0} bytes exceeds {most}", most = limits::PROXY_HEADER_BYTES)]
    TooLong(usize),
    /// It is not there in time.
    #[error("its PROXY header is not whole after {0:?}")]
    Late(Duration),
    /// The connection ended first.
    #[error("it ended within its PROXY header")]
    Ended(#[source] io::Error),
}

/// Reads the header. None: the proxy speaks for itself, or does not say for whom.
pub(super) async fn client(stream: &mut TcpStream, within: Duration) -> Result<Option<IpAddr>, BadHeader> {
    tokio::time::timeout(within, header(stream)).await.map_err(|_| BadHeader::Late(within))?
}

async fn header(stream: &mut TcpStream) -> Result<Option<IpAddr>, BadHeader> {
    let mut bytes = [0; LINE];
    stream.read_exact(&mut bytes[..KIND]).await.map_err(BadHeader::Ended)?;
    if bytes[..KIND] == *v2::PROTOCOL_PREFIX {
        return binary(stream).await;
    }
    if !bytes.starts_with(b"PROXY ") {
        return Err(BadHeader::Missing);
    }
    let mut filled = KIND;
    while bytes[filled - 1] != b'\n' {
        if filled == LINE {
            return Err(BadHeader::Malformed(format!("a line exceeds {LINE} bytes")));
        }
        let there = stream.peek(&mut bytes[filled..]).await.map_err(BadHeader::Ended)?;
        let new = &bytes[filled..filled + there];
        let part = new.iter().position(|byte| *byte == b'\n').map_or(there, |end| end + 1);
        if part == 0 {
            return Err(BadHeader::Ended(io::ErrorKind::UnexpectedEof.into()));
        }
        stream.read_exact(&mut bytes[filled..filled + part]).await.map_err(BadHeader::Ended)?;
        filled += part;
    }
    line(&bytes[..filled])
}

fn line(bytes: &[u8]) -> Result<Option<IpAddr>, BadHeader> {
    let header = v1::Header::try_from(bytes).map_err(|error| BadHeader::Malformed(error.to_string()))?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(told) => Some(told.source_address.into()),
        v1::Addresses::Tcp6(told) => Some(IpAddr::V6(told.source_address).to_canonical()),
        v1::Addresses::Unknown => None,
    })
}

/// The rest of a header of version 2, behind what tells that it is one.
async fn binary(stream: &mut TcpStream) -> Result<Option<IpAddr>, BadHeader> {
    let mut bytes = v2::PROTOCOL_PREFIX.to_vec();
    bytes.resize(FIXED, 0);
    stream.read_exact(&mut bytes[KIND..]).await.map_err(BadHeader::Ended)?;
    let whole = FIXED + usize::from(u16::from_be_bytes([bytes[FIXED - 2], bytes[FIXED - 1]]));
    if whole > limits::PROXY_HEADER_BYTES {
        return Err(BadHeader::TooLong(whole));
    }
    bytes.resize(whole, 0);
    stream.read_exact(&mut bytes[FIXED..]).await.map_err(BadHeader::Ended)?;
    let header = v2::Header::try_from(&bytes[..]).map_err(|error| BadHeader::Malformed(error.to_string()))?;
    if header.command == Command::Local {
        return Ok(None);
    }
    if header.protocol == Protocol::Datagram {
        return Err(BadHeader::Malformed("it speaks of datagrams".to_owned()));
    }
    Ok(match header.addresses {
        v2::Addresses::IPv4(told) => Some(told.source_address.into()),
        v2::Addresses::IPv6(told) => Some(IpAddr::V6(told.source_address).to_canonical()),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// What a header comes to, said in one piece or byte by byte, and what is left behind it.
    async fn told(
        bytes: &[u8],
        piece: usize,
        within: Duration,
    ) -> (Result<Option<String>, BadHeader>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut proxy = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        proxy.set_nodelay(true).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let saying = async {
            for piece in bytes.chunks(piece.max(1)) {
                if proxy.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let _ = proxy.shutdown().await;
        };
        let ((), found) = tokio::join!(saying, client(&mut stream, within));
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        (found.map(|ip| ip.map(|ip| ip.to_string())), rest)
    }

    fn binary_of(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = v2::PROTOCOL_PREFIX.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    const V4: [u8; 12] = [198, 51, 100, 7, 192, 0, 2, 1, 0x12, 0x34, 1, 187];

    #[tokio::test]
    async fn both_versions_tell_the_client_and_leave_the_rest() {
        let mut v6 = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec();
        v6.extend([0; 16]);
        v6.extend([0x12, 0x34, 1, 187]);
        let noted = [&V4[..], &[4, 0, 3, 1, 2, 3]].concat();
        let unix = [0; 216];
        for (header, counts) in [
            (b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n".to_vec(), Some("198.51.100.7")),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n".to_vec(), Some("2001:db8::7")),
            (b"PROXY TCP6 ::ffff:198.51.100.7 ::1 4711 443\r\n".to_vec(), Some("198.51.100.7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (binary_of(0x21, 0x11, &V4), Some("198.51.100.7")),
            (binary_of(0x21, 0x11, &noted), Some("198.51.100.7")),
            (binary_of(0x21, 0x21, &v6), Some("2001:db8::7")),
            (binary_of(0x20, 0x00, &[]), None),
            (binary_of(0x20, 0x11, &V4), None),
            (binary_of(0x21, 0x00, &[]), None),
            (binary_of(0x21, 0x31, &unix), None),
        ] {
            for piece in [1, 13, usize::MAX] {
                let said = [&header[..], b"GET / HTTP/1.1\r\n\n"].concat();
                let (found, rest) = told(&said, piece.min(said.len()), PATIENCE).await;
                assert_eq!(found.unwrap().as_deref(), counts, "{header:?}");
                assert_eq!(rest, b"GET / HTTP/1.1\r\n\n", "{header:?}");
            }
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        let endless = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat();
        let huge = binary_of(0x21, 0x11, &vec![0; limits::PROXY_HEADER_BYTES]);
        for (said, why) in [
            (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), "does not begin"),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00".to_vec(), "does not begin"),
            (b"".to_vec(), "ended within"),
            (b"PROXY TCP4 198.".to_vec(), "ended within"),
            (b"PROXY TCP4 198.51.100.7\r\n".to_vec(), "can't be read"),
            (b"PROXY TCP4 2001:db8::7 192.0.2.1 1 2\r\n".to_vec(), "can't be read"),
            (b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\n".to_vec(), "can't be read"),
            (b"PROXY UDP4 198.51.100.7 192.0.2.1 4711 443\r\n".to_vec(), "can't be read"),
            (endless, "exceeds 107"),
            (huge, "exceeds"),
            (binary_of(0x21, 0x11, &V4[..8]), "can't be read"),
            (binary_of(0x21, 0x12, &V4), "datagrams"),
            (binary_of(0x31, 0x11, &V4), "can't be read"),
            (binary_of(0x2f, 0x11, &V4), "can't be read"),
            (binary_of(0x21, 0x11, &V4)[..20].to_vec(), "ended within"),
        ] {
            let (found, _) = told(&said, said.len(), PATIENCE).await;
            let error = found.unwrap_err().to_string();
            assert!(error.contains(why), "{error}: {said:?}");
        }
    }

    #[tokio::test]
    async fn a_slow_header_is_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut proxy = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        proxy.write_all(b"PROXY TCP4 198.51").await.unwrap();
        let error = client(&mut stream, Duration::from_millis(20)).await.unwrap_err();
        assert!(matches!(error, BadHeader::Late(_)), "{error}");
    }

    proptest! {
        #[test]
        fn junk_never_panics(body in prop::collection::vec(any::<u8>(), 0..300), command: u8, family: u8) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let _ = told(&binary_of(command, family, &body), 400, PATIENCE).await;
                let _ = told(&[b"PROXY ", &body[..]].concat(), 400, PATIENCE).await;
                let _ = told(&body, 400, PATIENCE).await;
            });
        }
    }
}
