//! A TUN device: what is written to it arrives in the kernel as from a network, what the kernel sends there is read.

use std::io;
use tappers::Interface;
use tappers::linux::Tun as Device;

/// The largest packet that is read.
const MTU: usize = 4_096;

/// A TUN device of the network namespace in which it was made. It goes when this is dropped.
pub struct Tun {
    device: Device,
    buffer: Box<[u8; MTU]>,
}

impl Tun {
    /// Makes a device of this name. It has no address and is not up; its reads do not wait.
    pub fn create(name: &str) -> io::Result<Self> {
        let device = Device::create_named(Interface::new(name)?)?;
        device.set_nonblocking(true)?;
        Ok(Self { device, buffer: Box::new([0; MTU]) })
    }

    /// Hands a packet to the kernel. When this returns, the kernel has processed it and its answers can be read:
    /// drivers/net/tun.c `tun_get_user()` calls `netif_receive_skb()` itself.
    pub fn inject(&self, packet: &[u8]) -> io::Result<()> {
        let written = self.device.send(packet)?;
        if written == packet.len() {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::WriteZero, "the TUN device took a part of a packet"))
        }
    }

    /// The next packet that the kernel sent, if there is one.
    pub fn next_packet(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            match self.device.recv(&mut self.buffer[..]) {
                Ok(length) => return Ok(self.buffer.get(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
