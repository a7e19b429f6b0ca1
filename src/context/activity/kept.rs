//! What waits for the end of a connection.

use std::sync::OnceLock;

use super::Ending;

/// What is called at the end of a connection.
pub(super) type AtClose = dyn FnOnce(Ending) + Send + Sync;

/// What waits for the end of one connection. A connection is upgraded once, so a few places suffice.
#[derive(Default)]
pub(super) struct Kept([OnceLock<Box<AtClose>>; 3]);

impl Kept {
    /// # Errors
    /// There is no place for it.
    pub(super) fn keep(&self, mut call: Box<AtClose>) -> Result<(), Box<AtClose>> {
        for place in &self.0 {
            match place.set(call) {
                Ok(()) => return Ok(()),
                Err(back) => call = back,
            }
        }
        Err(call)
    }

    pub(super) fn end(&mut self, ending: Ending) {
        for call in self.0.iter_mut().filter_map(OnceLock::take) {
            call(ending);
        }
    }
}

debug_fields!(Kept {});

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::Activity;
    use super::*;

    #[test]
    fn each_call_is_made_once_at_the_end_or_at_once_without_a_place() {
        let (activity, (tell, told)) = (Activity::default(), mpsc::channel());
        for number in 0..4 {
            let tell = tell.clone();
            activity.at_close(Box::new(move |ending| tell.send((number, ending)).unwrap()));
        }
        assert_eq!(
            told.try_iter().collect::<Vec<_>>(),
            [(3, Ending::Unwatched)]
        );
        drop(activity);
        let numbers: Vec<_> = told.try_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [0, 1, 2]);
    }
}
