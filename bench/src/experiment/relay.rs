//! A relay that delays requests on their way to a server, with which the clock of HTTP arms is
//! checked.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Starts a relay to `server` for one connection and returns its address. Every piece that the
/// client sends waits for `delay`; small requests are one piece. The relay ends with the connection.
///
/// # Errors
/// Returns an error if no port is free.
pub(crate) fn start(server: SocketAddr, delay: Duration) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        // An error ends the connection, which the client sees.
        if let Ok((client, _)) = listener.accept() {
            let _ = relay(client, server, delay);
        }
    });
    Ok(address)
}

fn relay(client: TcpStream, server: SocketAddr, delay: Duration) -> std::io::Result<()> {
    let upstream = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let (answers, back) = (upstream.try_clone()?, client.try_clone()?);
    let answers = thread::spawn(move || copy(answers, back, Duration::ZERO));
    copy(client, upstream, delay)?;
    let _ = answers.join();
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, delay: Duration) -> std::io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut piece)?;
        if read == 0 {
            return to.shutdown(Shutdown::Write);
        }
        thread::sleep(delay);
        to.write_all(&piece[..read])?;
    }
}
