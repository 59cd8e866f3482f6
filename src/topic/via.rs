//! Marks that keep messages from going in circles.
//!
//! A message that a bridge takes from its cloud gets an MQTT 5 user property that names the bridge:
//! it never goes back there. One that a bridge with `receive` takes to its cloud gets the name of the
//! gateway: should it come here again by whatever way, it is dropped. Over 3.1.1 there are no
//! properties, and such marks end there.

use super::Topics;
use crate::reading::Properties;

/// The user property. Its value is `<base>/<gateway>`, or `<base>/<gateway>/<bridge>`.
pub const VIA: &str = "serialgate-via";

impl Topics {
    /// Notes that the message with these properties came from the cloud of `bridge`.
    pub fn mark_received(&self, bridge: &str, properties: &mut Properties) {
        properties.user.push((VIA.into(), self.received_by(bridge).into()));
    }

    /// Notes that the message with these properties has left this gateway, unless it says so already.
    pub fn mark_sent(&self, properties: &mut Properties) {
        if !self.was_here(properties) {
            properties.user.push((VIA.into(), (&*self.root).into()));
        }
    }

    /// Whether the message with these properties came from the cloud of `bridge`.
    #[must_use]
    pub fn came_from(&self, bridge: &str, properties: &Properties) -> bool {
        marks(properties).any(|mark| mark == self.received_by(bridge))
    }

    /// Whether the message with these properties has been in this gateway.
    #[must_use]
    pub fn was_here(&self, properties: &Properties) -> bool {
        marks(properties).any(|mark| {
            mark.strip_prefix(&*self.root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    fn received_by(&self, bridge: &str) -> String {
        format!("{}/{bridge}", self.root)
    }

    /// Whether `topic` is for this gateway alone to speak on: all under `<base>/<gateway>/` except
    /// commands (`…/set`).
    #[must_use]
    pub fn is_reserved(&self, topic: &str) -> bool {
        let ours = topic.strip_prefix(&*self.root).and_then(|rest| rest.strip_prefix('/'));
        ours.is_some_and(|rest| rest.rsplit('/').next() != Some("set"))
    }
}

fn marks(properties: &Properties) -> impl Iterator<Item = &str> {
    properties.user.iter().filter(|(name, _)| &**name == VIA).map(|(_, value)| &**value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_never_goes_back_where_it_came_from() {
        let (here, there) = (Topics::new("b", "g"), Topics::new("b", "g2"));
        let mut properties = Properties::default();
        here.mark_received("cloud", &mut properties);
        assert!(here.came_from("cloud", &properties));
        assert!(!here.came_from("clouds", &properties) && !there.came_from("cloud", &properties));
        assert!(here.was_here(&properties) && !there.was_here(&properties));
        here.mark_sent(&mut properties);
        assert_eq!(properties.user.len(), 1, "said already");
        there.mark_sent(&mut properties);
        assert!(there.was_here(&properties) && !there.came_from("cloud", &properties));
    }

    #[test]
    fn nobody_else_speaks_for_the_gateway() {
        let topics = Topics::new("b", "g");
        for reserved in ["b/g/status", "b/g/shed/state", "b/g/shed/data", "b/g/", "b/g/set/x"] {
            assert!(topics.is_reserved(reserved), "{reserved}");
        }
        for open in ["b/g/shed/set", "b/g/set", "b/g2/status", "b/g", "x/b/g/status"] {
            assert!(!topics.is_reserved(open), "{open}");
        }
    }
}
