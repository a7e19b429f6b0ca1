//! What is between the service and its Redis: it passes on, holds back or closes, as a test wants.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// It ends with the value, and its connections with it.
pub(super) struct Between {
    pub(super) address: SocketAddr,
    does: watch::Sender<Does>,
    accepting: JoinHandle<()>,
}

#[derive(Clone, Copy, PartialEq)]
enum Does {
    Pass,
    Hold,
    Close,
}

impl Between {
    /// In front of the Redis at this socket.
    pub(super) async fn start(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (does, told) = watch::channel(Does::Pass);
        let accepting = tokio::spawn(async move {
            while let Ok((theirs, _)) = listener.accept().await {
                let (socket, told) = (socket.clone(), told.clone());
                tokio::spawn(async move { connect(theirs, &socket, told).await });
            }
        });
        Self {
            address,
            does,
            accepting,
        }
    }

    /// Passes everything on, also what was held back.
    pub(super) fn pass(&self) {
        self.does.send_replace(Does::Pass);
    }

    /// Takes what comes and passes nothing on: Redis hangs.
    pub(super) fn hold(&self) {
        self.does.send_replace(Does::Hold);
    }

    /// Ends all connections, and new ones at once: Redis is down.
    pub(super) fn close(&self) {
        self.does.send_replace(Does::Close);
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connect(mut theirs: TcpStream, socket: &Path, mut told: watch::Receiver<Does>) {
    if *told.borrow() == Does::Close {
        return;
    }
    let Ok(mut redis) = UnixStream::connect(socket).await else {
        return;
    };
    let ((from, to), (back, forth)) = (theirs.split(), redis.split());
    tokio::select! {
        () = pass_on(from, forth, told.clone()) => {}
        () = pass_on(back, to, told.clone()) => {}
        // An error: nobody closes it any more.
        _ = told.wait_for(|does| *does == Does::Close) => {}
    }
}

async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut told: watch::Receiver<Does>,
) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let passes = told.wait_for(|does| *does == Does::Pass).await.is_ok();
        if !passes || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
