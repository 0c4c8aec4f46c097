//! Which measures there are, so that a name that is misspelt is not taken for one that is 0.

use super::{LONGEST, PARTS};
use crate::scenario::World;
use tcp::State;

/// Counters of `Tcp:` and `TcpExt:` (net/ipv4/proc.c of Linux 6.18).
const COUNTERS: &str = "\
    ActiveOpens PassiveOpens AttemptFails EstabResets InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors \
    SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts PruneCalled RcvPruned OfoPruned \
    OutOfWindowIcmps LockDroppedIcmps ArpFilter TW TWRecycled TWKilled PAWSActive PAWSEstab BeyondWindow \
    TSEcrRejected PAWSOldAck PAWSTimewait DelayedACKs DelayedACKLocked DelayedACKLost ListenOverflows \
    ListenDrops TCPHPHits TCPPureAcks TCPHPAcks TCPRenoRecovery TCPSackRecovery TCPSACKReneging \
    TCPSACKReorder TCPRenoReorder TCPTSReorder TCPFullUndo TCPPartialUndo TCPDSACKUndo TCPLossUndo \
    TCPLostRetransmit TCPRenoFailures TCPSackFailures TCPLossFailures TCPFastRetrans TCPSlowStartRetrans \
    TCPTimeouts TCPLossProbes TCPLossProbeRecovery TCPRenoRecoveryFail TCPSackRecoveryFail TCPRcvCollapsed \
    TCPBacklogCoalesce TCPDSACKOldSent TCPDSACKOfoSent TCPDSACKRecv TCPDSACKOfoRecv TCPAbortOnData \
    TCPAbortOnClose TCPAbortOnMemory TCPAbortOnTimeout TCPAbortOnLinger TCPAbortFailed TCPMemoryPressures \
    TCPMemoryPressuresChrono TCPSACKDiscard TCPDSACKIgnoredOld TCPDSACKIgnoredNoUndo TCPSpuriousRTOs \
    TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure TCPSackShifted TCPSackMerged TCPSackShiftFallback \
    TCPBacklogDrop PFMemallocDrop TCPMinTTLDrop TCPDeferAcceptDrop IPReversePathFilter TCPTimeWaitOverflow \
    TCPReqQFullDoCookies TCPReqQFullDrop TCPRetransFail TCPRcvCoalesce TCPOFOQueue TCPOFODrop TCPOFOMerge \
    TCPChallengeACK TCPSYNChallenge TCPFastOpenActive TCPFastOpenActiveFail TCPFastOpenPassive \
    TCPFastOpenPassiveFail TCPFastOpenListenOverflow TCPFastOpenCookieReqd TCPFastOpenBlackhole \
    TCPSpuriousRtxHostQueues BusyPollRxPackets TCPAutoCorking TCPFromZeroWindowAdv TCPToZeroWindowAdv \
    TCPWantZeroWindowAdv TCPSynRetrans TCPOrigDataSent TCPHystartTrainDetect TCPHystartTrainCwnd \
    TCPHystartDelayDetect TCPHystartDelayCwnd TCPACKSkippedSynRecv TCPACKSkippedPAWS TCPACKSkippedSeq \
    TCPACKSkippedFinWait2 TCPACKSkippedTimeWait TCPACKSkippedChallenge TCPWinProbe TCPKeepAlive TCPMTUPFail \
    TCPMTUPSuccess TCPDelivered TCPDeliveredCE TCPAckCompressed TCPZeroWindowDrop TCPRcvQDrop \
    TCPWqueueTooBig TCPFastOpenPassiveAltKey TcpTimeoutRehash TcpDuplicateDataRehash TCPDSACKRecvSegs \
    TCPDSACKIgnoredDubious TCPMigrateReqSuccess TCPMigrateReqFailure TCPPLBRehash TCPAORequired TCPAOBad \
    TCPAOKeyNotFound TCPAOGood TCPAODroppedIcmps";

/// Those that older kernels have.
const OLDER_COUNTERS: &str = "\
    PAWSPassive TCPPrequeued TCPDirectCopyFromBacklog TCPDirectCopyFromPrequeue TCPPrequeueDropped \
    TCPHPHitsToUser TCPForwardRetrans TCPFACKReorder TCPSchedulerFailed";

/// Calls of clients, servers and proxies that can fail.
const CALLS: [&str; 6] = ["socket", "bind", "connect", "accept", "send", "recv"];

/// Why they fail; an error that has no name here is written as `errno` and its number.
const ERRORS: &str = "\
    EADDRNOTAVAIL EADDRINUSE ECONNREFUSED ECONNRESET ECONNABORTED ETIMEDOUT EPIPE ENETUNREACH EHOSTUNREACH EINVAL \
    EMFILE ENFILE ENOBUFS ENOMEM EACCES EPERM ENOTCONN EISCONN EINTR EOF garbled stopped";

/// So many letters of a name must be those of one of another family to be near it.
const NEAR: usize = 2;

/// So many near ones are shown.
const MOST_SHOWN: usize = 3;

/// Looks whether a stage could give this measure of a world.
///
/// # Errors
///
/// If none can: with the names that are near it.
pub(crate) fn check(world: &World, name: &str) -> Result<(), String> {
    let (of, what) = name.split_once('.').unwrap_or_default();
    let known = of_named(world, of);
    if known.is_empty() {
        return Err(format!(
            "the measure {name:?} begins with the name of no host, server, proxy, client or probe"
        ));
    }
    let number = what.strip_prefix("failed.").and_then(|failed| failed.split_once(".errno"));
    let by_number =
        number.is_some_and(|(call, number)| CALLS.contains(&call) && number.parse::<u16>().is_ok());
    if by_number || known.iter().any(|known| known == what) {
        return Ok(());
    }
    let is_near = |known: &&String| {
        let (related, letters) = alike(known, what);
        related || letters >= NEAR
    };
    let mut near: Vec<&String> = known.iter().filter(is_near).collect();
    near.sort_by_key(|known| std::cmp::Reverse((alike(known, what), std::cmp::Reverse(known.len()))));
    near.dedup();
    near.truncate(MOST_SHOWN);
    let near: Vec<String> = if near.is_empty() {
        let families = known.iter().filter_map(|known| known.split('.').next());
        let mut families: Vec<String> = families.map(|family| format!("{of}.{family}")).collect();
        families.dedup();
        families
    } else {
        near.into_iter().map(|near| format!("{of}.{near}")).collect()
    };
    Err(format!("no stage gives the measure {name:?}: there is {}", near.join(", ")))
}

/// What can be measured of whoever has this name.
fn of_named(world: &World, named: &str) -> Vec<String> {
    let mut known = Vec::new();
    let mut add = |there: bool, names: &mut dyn Iterator<Item = String>| {
        if there {
            known.extend(names);
        }
    };
    let plain = |names: &'static [&'static str]| names.iter().map(|name| (*name).to_owned());
    let failed = |calls: &'static [&'static str]| {
        let errors = || ERRORS.split_ascii_whitespace();
        calls.iter().flat_map(move |call| errors().map(move |error| format!("failed.{call}.{error}")))
    };
    let states = || State::ALL.into_iter().filter(|state| !matches!(state, State::Listen | State::Closed));
    let counters = COUNTERS.split_ascii_whitespace().chain(OLDER_COUNTERS.split_ascii_whitespace());
    let host =
        ["sockets", "peak"].into_iter().flat_map(|what| states().map(move |state| format!("{what}.{state}")));
    let mut host = host.chain(counters.map(|counter| format!("counters.{counter}"))).chain(plain(&[
        "conntrack",
        "bytes.time_wait",
        "bytes.a_time_wait",
    ]));
    let times = ["connect_us", "answer_us"].into_iter();
    let parts = || PARTS.into_iter().map(|(_, part)| part).chain([LONGEST]);
    let times = times.flat_map(|what| parts().map(move |part| format!("{what}.{part}")));
    let mut client = plain(&["ok", "connected", "requests", "per_second", "cpu_us", "socket_us"])
        .chain(times)
        .chain((1..=10).map(|tenth| format!("connect_us.tenth{tenth}")))
        .chain(failed(&CALLS));
    add(world.host(named).is_some(), &mut host);
    add(world.clients.iter().any(|client| client.name == named), &mut client);
    add(world.servers.iter().any(|server| server.name == named), &mut failed(&["bind"]));
    let mut proxy = plain(&["upstream"]).chain(failed(&CALLS));
    add(world.proxies.iter().any(|proxy| proxy.name == named), &mut proxy);
    add(world.probes.iter().any(|probe| probe.name == named), &mut plain(&["reply", "after", "timer"]));
    known
}

/// Whether both are of one family, and how many letters at the begin and at the end are the same.
fn alike(one: &str, other: &str) -> (bool, usize) {
    let (one, other, related) = match (one.split_once('.'), other.split_once('.')) {
        (Some((family, one)), Some((same, other))) if family == same => (one, other, true),
        _ => (one, other, false),
    };
    let same = |(one, other): &(char, char)| one.eq_ignore_ascii_case(other);
    let begin = one.chars().zip(other.chars()).take_while(same).count();
    let end = one.chars().rev().zip(other.chars().rev()).take_while(same).count();
    (related, begin + end)
}
