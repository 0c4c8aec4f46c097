//! Several scenarios at a time, their results in order.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

/// Works on all items, at most so many at a time, and takes the results in the order of the items. Those that must be
/// alone come last, one by one. The first failure, of the work or of taking its result, ends it: what runs is told by
/// the function that is given to it.
pub(super) fn in_order<'a, I: Sync, R: Send>(
    items: &'a [I],
    at_a_time: usize,
    alone: impl Fn(&I) -> bool,
    work: impl Fn(&'a I, &dyn Fn() -> bool) -> anyhow::Result<R> + Sync,
    mut take: impl FnMut(&'a I, R) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let goes_on = AtomicBool::new(true);
    let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
    let mut taken = 0;
    let mut put = |place: usize, result: anyhow::Result<R>| -> anyhow::Result<()> {
        if let Some(slot) = results.get_mut(place) {
            *slot = Some(result?);
        }
        while let (Some(item), Some(result)) =
            (items.get(taken), results.get_mut(taken).and_then(Option::take))
        {
            take(item, result)?;
            taken += 1;
        }
        Ok(())
    };
    // One at a time are never beside each other: they keep their order.
    let must_be_alone = |item: &I| at_a_time > 1 && alone(item);
    let (last, first): (Vec<_>, Vec<_>) = items.iter().enumerate().partition(|(_, item)| must_be_alone(item));
    let work = |item: &'a I| work(item, &|| goes_on.load(Ordering::Relaxed));
    let next = AtomicUsize::new(0);
    let worker = |send: &mpsc::Sender<_>| {
        while let Some((place, item)) = first.get(next.fetch_add(1, Ordering::Relaxed))
            && goes_on.load(Ordering::Relaxed)
            && send.send((*place, work(item))).is_ok()
        {}
    };
    let worker = &worker;
    std::thread::scope(|scope| {
        let (send, receive) = mpsc::channel();
        let workers: Vec<_> = (0..at_a_time.clamp(1, first.len().max(1)))
            .map(|_| {
                let send = send.clone();
                scope.spawn(move || worker(&send))
            })
            .collect();
        drop(send);
        let done = receive.iter().try_for_each(|(place, result)| put(place, result));
        if done.is_err() {
            goes_on.store(false, Ordering::Relaxed);
        }
        for worker in workers {
            worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
        done
    })?;
    last.into_iter().try_for_each(|(place, item)| put(place, work(item)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Barrier, Mutex};

    #[test]
    fn results_are_in_order_whoever_is_done_first() {
        // Two are at work at once, or this never ends.
        let both = Barrier::new(2);
        let mut taken = Vec::new();
        let work = |item: &u32, _: &dyn Fn() -> bool| {
            if *item < 2 {
                both.wait();
            }
            Ok(item * 10)
        };
        in_order(
            &[0, 1, 2, 3, 4],
            2,
            |_| false,
            work,
            |item, result| {
                taken.push((*item, result));
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(taken, [(0, 0), (1, 10), (2, 20), (3, 30), (4, 40)]);
    }

    #[test]
    fn nothing_runs_beside_what_must_be_alone_and_its_result_has_its_place() {
        let log = Mutex::new(Vec::new());
        let mut taken = Vec::new();
        let work = |item: &u32, _: &dyn Fn() -> bool| {
            log.lock().unwrap().push(*item);
            Ok(*item)
        };
        in_order(
            &[7, 1, 2, 8, 3],
            3,
            |item| *item > 5,
            work,
            |_, result| {
                taken.push(result);
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(taken, [7, 1, 2, 8, 3]);
        assert_eq!(log.into_inner().unwrap()[3..], [7, 8]);
    }

    #[test]
    fn a_failure_ends_it() {
        let mut taken = Vec::new();
        let work = |item: &u32, _: &dyn Fn() -> bool| {
            if *item == 2 { Err(anyhow::anyhow!("two")) } else { Ok(*item) }
        };
        let ended = in_order(
            &[1, 2, 3],
            1,
            |_| false,
            work,
            |_, result| {
                taken.push(result);
                Ok(())
            },
        );
        assert_eq!(ended.unwrap_err().to_string(), "two");
        assert_eq!(taken, [1]);
        // Whoever reads the results is gone.
        let ended =
            in_order(&[1, 2, 3], 3, |_| false, |item: &u32, _| Ok(*item), |_, _| anyhow::bail!("closed"));
        assert_eq!(ended.unwrap_err().to_string(), "closed");
    }
}
