//! What is sent again, and when.

use tcp::machine::{Call, Endpoint};
use tcp::profile::Stack;
use tcp::{Flags, Seq, State};

#[test]
fn data_goes_again_with_its_timer_and_not_with_close() {
    let mut client = Endpoint::new(&Stack::LINUX, Seq::new(1_000));
    let mut server = Endpoint::new(&Stack::LINUX, Seq::new(9_000));
    server.handle_call(0, Call::Listen);
    client.handle_call(0, Call::Connect);
    while let Some(segment) = client.poll_transmit(0) {
        server.handle_segment(0, &segment);
        while let Some(answer) = server.poll_transmit(0) {
            client.handle_segment(0, &answer);
        }
    }
    assert_eq!(client.state(), State::Established);
    client.handle_send(0, 100);
    let data = client.poll_transmit(0).map(|segment| (segment.seq, segment.length));
    assert_eq!(data, Some((Seq::new(1_001), 100)));
    let due = client.poll_timeout().expect("what is not acknowledged has a timer");
    client.handle_timeout(due);
    assert_eq!(client.poll_transmit(due).map(|segment| (segment.seq, segment.length)), data);
    assert_eq!(client.poll_transmit(due), None);
    // Seen on Linux 6.18: the FIN goes out alone, behind data that is on its way for the second time.
    client.handle_call(due, Call::Close);
    let fin = client.poll_transmit(due).expect("a FIN");
    assert!(fin.flags.has(Flags::FIN));
    assert_eq!((fin.seq, fin.length), (Seq::new(1_101), 0));
    assert_eq!(client.poll_transmit(due), None);
    // Both go again as one when their time has come.
    let due = client.poll_timeout().expect("a FIN has a timer");
    client.handle_timeout(due);
    let again = client.poll_transmit(due).expect("the oldest");
    assert_eq!((again.seq, again.length, again.flags.has(Flags::FIN)), (Seq::new(1_001), 100, true));
}
