//! Our packets and the codec crate's, for MQTT 5.0.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use bytestring::ByteString;
use rmqtt_codec::types::Publish as WirePublish;
use rmqtt_codec::v5;

use super::v3::{our_qos, wire_qos};
use super::{CodecError, owned, text};
use crate::mqtt::packet::{
    Ack, ConnAck, Connect, Disconnect, Packet, PacketId, Publish, Reason, RetainHandling, Subscribe,
    SubscribeFilter, Version, Will,
};
use crate::reading::Properties;

/// What the crate decoded, as our packet. `clean_start` is the true flag of a CONNECT.
pub(super) fn decoded(packet: v5::Packet, clean_start: bool) -> Result<Packet, CodecError> {
    Ok(match packet {
        v5::Packet::Connect(from) => Packet::Connect(Box::new(connect(&from, clean_start)?)),
        v5::Packet::ConnectAck(from) => Packet::ConnAck(Box::new(connack(&from)?)),
        v5::Packet::Publish(from) => Packet::Publish(Box::new(publish(&from)?)),
        v5::Packet::PublishAck(from) => Packet::PubAck(ack(from.packet_id, from.reason_code.into())),
        v5::Packet::PublishReceived(from) => Packet::PubRec(ack(from.packet_id, from.reason_code.into())),
        v5::Packet::PublishRelease(from) => Packet::PubRel(ack(from.packet_id, from.reason_code.into())),
        v5::Packet::PublishComplete(from) => Packet::PubComp(ack(from.packet_id, from.reason_code.into())),
        v5::Packet::Subscribe(from) => Packet::Subscribe(Subscribe {
            id: from.packet_id,
            filters: from.topic_filters.iter().map(filter).collect::<Result<_, _>>()?,
            subscription_id: from.id.map(NonZeroU32::get),
        }),
        v5::Packet::SubscribeAck(from) => {
            Packet::SubAck(from.packet_id, from.status.iter().map(|&code| Reason(code.into())).collect())
        }
        v5::Packet::Unsubscribe(from) => {
            let filters: Result<Vec<Arc<str>>, _> = from.topic_filters.iter().map(text).collect();
            Packet::Unsubscribe(from.packet_id, filters?)
        }
        v5::Packet::UnsubscribeAck(from) => {
            Packet::UnsubAck(from.packet_id, from.status.iter().map(|&code| Reason(code.into())).collect())
        }
        v5::Packet::PingRequest => Packet::PingReq,
        v5::Packet::PingResponse => Packet::PingResp,
        v5::Packet::Disconnect(from) => Packet::Disconnect(Disconnect {
            reason: Reason(from.reason_code.into()),
            session_expiry_s: from.session_expiry_interval_secs,
            reason_string: from.reason_string.as_ref().map(text).transpose()?,
        }),
        v5::Packet::Auth(_) => Packet::Auth,
    })
}

/// Our packet, as the crate encodes it.
pub(super) fn encoded(packet: &Packet) -> Result<v5::Packet, CodecError> {
    Ok(match packet {
        Packet::Connect(from) => v5::Packet::Connect(Box::new(wire_connect(from)?)),
        Packet::ConnAck(from) => v5::Packet::ConnectAck(Box::new(wire_connack(from)?)),
        Packet::Publish(from) => v5::Packet::Publish(Box::new(wire_publish(from)?)),
        Packet::PubAck(ack) => v5::Packet::PublishAck(wire_ack(*ack)?),
        Packet::PubRec(ack) => v5::Packet::PublishReceived(wire_ack(*ack)?),
        Packet::PubRel(ack) => v5::Packet::PublishRelease(wire_ack2(*ack)?),
        Packet::PubComp(ack) => v5::Packet::PublishComplete(wire_ack2(*ack)?),
        Packet::Subscribe(from) => v5::Packet::Subscribe(v5::Subscribe {
            packet_id: from.id,
            id: from.subscription_id.map(subscription_id).transpose()?,
            user_properties: Vec::new(),
            topic_filters: from.filters.iter().map(wire_filter).collect(),
        }),
        Packet::SubAck(id, reasons) => v5::Packet::SubscribeAck(v5::SubscribeAck {
            packet_id: *id,
            properties: Vec::new(),
            reason_string: None,
            status: reasons.iter().map(|&reason| code(reason)).collect::<Result<_, _>>()?,
        }),
        Packet::Unsubscribe(id, filters) => v5::Packet::Unsubscribe(v5::Unsubscribe {
            packet_id: *id,
            user_properties: Vec::new(),
            topic_filters: filters.iter().map(|filter| ByteString::from(&**filter)).collect(),
        }),
        Packet::UnsubAck(id, reasons) => v5::Packet::UnsubscribeAck(v5::UnsubscribeAck {
            packet_id: *id,
            properties: Vec::new(),
            reason_string: None,
            status: reasons.iter().map(|&reason| code(reason)).collect::<Result<_, _>>()?,
        }),
        Packet::PingReq => v5::Packet::PingRequest,
        Packet::PingResp => v5::Packet::PingResponse,
        Packet::Disconnect(from) => v5::Packet::Disconnect(v5::Disconnect {
            reason_code: code(from.reason)?,
            session_expiry_interval_secs: from.session_expiry_s,
            server_reference: None,
            reason_string: wire_text(from.reason_string.as_ref()),
            user_properties: Vec::new(),
        }),
        Packet::Auth => return Err(CodecError::Authentication),
    })
}

fn connect(from: &v5::Connect, clean_start: bool) -> Result<Connect, CodecError> {
    if from.auth_method.is_some() {
        return Err(CodecError::Authentication);
    }
    Ok(Connect {
        version: Version::V5,
        client_id: text(&from.client_id)?,
        clean_start,
        keep_alive_s: from.keep_alive,
        session_expiry_s: from.session_expiry_interval_secs,
        receive_maximum: from.receive_max.map_or(u16::MAX, NonZeroU16::get),
        maximum_packet_size: from.max_packet_size.map(NonZeroU32::get),
        topic_alias_maximum: from.topic_alias_max,
        username: from.username.as_ref().map(text).transpose()?,
        password: from.password.as_ref().map(owned),
        will: from.last_will.as_ref().map(will).transpose()?,
    })
}

fn wire_connect(from: &Connect) -> Result<v5::Connect, CodecError> {
    Ok(v5::Connect {
        clean_start: from.clean_start,
        keep_alive: from.keep_alive_s,
        session_expiry_interval_secs: from.session_expiry_s,
        receive_max: match from.receive_maximum {
            u16::MAX => None,
            maximum => Some(NonZeroU16::new(maximum).ok_or(CodecError::Malformed("receive maximum of 0"))?),
        },
        topic_alias_max: from.topic_alias_maximum,
        max_packet_size: from.maximum_packet_size.and_then(NonZeroU32::new),
        last_will: from.will.as_ref().map(wire_will),
        client_id: ByteString::from(&*from.client_id),
        username: wire_text(from.username.as_ref()),
        password: from.password.clone(),
        ..v5::Connect::default()
    })
}

fn will(from: &v5::LastWill) -> Result<Will, CodecError> {
    Ok(Will {
        message: Publish {
            expiry_s: from.message_expiry_interval.map(NonZeroU32::get),
            properties: Properties {
                content_type: from.content_type.as_ref().map(text).transpose()?,
                response_topic: from.response_topic.as_ref().map(text).transpose()?,
                correlation_data: from.correlation_data.as_ref().map(owned),
                is_utf8_payload: from.is_utf8_payload.unwrap_or(false),
                user: user(&from.user_properties)?,
            },
            ..Publish::new(text(&from.topic)?, owned(&from.message), our_qos(from.qos), from.retain)
        },
        delay_s: from.will_delay_interval_sec.unwrap_or(0),
    })
}

fn wire_will(from: &Will) -> v5::LastWill {
    let Publish { qos, retain, topic, payload, expiry_s, properties, .. } = &from.message;
    v5::LastWill {
        qos: wire_qos(*qos),
        retain: *retain,
        topic: ByteString::from(&**topic),
        message: payload.clone(),
        will_delay_interval_sec: (from.delay_s > 0).then_some(from.delay_s),
        correlation_data: properties.correlation_data.clone(),
        message_expiry_interval: wire_expiry(*expiry_s),
        content_type: wire_text(properties.content_type.as_ref()),
        user_properties: wire_user(properties),
        is_utf8_payload: properties.is_utf8_payload.then_some(true),
        response_topic: wire_text(properties.response_topic.as_ref()),
    }
}

fn connack(from: &v5::ConnectAck) -> Result<ConnAck, CodecError> {
    let reason = Reason(from.reason_code.into());
    Ok(ConnAck {
        session_present: from.session_present && !reason.is_failure(),
        reason,
        session_expiry_s: from.session_expiry_interval_secs,
        receive_maximum: from.receive_max.get(),
        maximum_qos: our_qos(from.max_qos),
        retain_available: from.retain_available,
        maximum_packet_size: from.max_packet_size,
        assigned_client_id: from.assigned_client_id.as_ref().map(text).transpose()?,
        topic_alias_maximum: from.topic_alias_max,
        server_keep_alive_s: from.server_keepalive_sec,
        reason_string: from.reason_string.as_ref().map(text).transpose()?,
    })
}

fn wire_connack(from: &ConnAck) -> Result<v5::ConnectAck, CodecError> {
    Ok(v5::ConnectAck {
        session_present: from.session_present && !from.reason.is_failure(),
        reason_code: code(from.reason)?,
        session_expiry_interval_secs: from.session_expiry_s,
        receive_max: NonZeroU16::new(from.receive_maximum)
            .ok_or(CodecError::Malformed("receive maximum of 0"))?,
        max_qos: wire_qos(from.maximum_qos),
        max_packet_size: from.maximum_packet_size,
        assigned_client_id: wire_text(from.assigned_client_id.as_ref()),
        topic_alias_max: from.topic_alias_maximum,
        retain_available: from.retain_available,
        server_keepalive_sec: from.server_keep_alive_s,
        reason_string: wire_text(from.reason_string.as_ref()),
        ..v5::ConnectAck::default()
    })
}

fn publish(from: &WirePublish) -> Result<Publish, CodecError> {
    let publish = Publish {
        dup: from.dup,
        id: from.packet_id,
        ..Publish::new(text(&from.topic)?, owned(&from.payload), our_qos(from.qos), from.retain)
    };
    let Some(properties) = &from.properties else { return Ok(publish) };
    Ok(Publish {
        expiry_s: properties.message_expiry_interval.map(NonZeroU32::get),
        topic_alias: properties.topic_alias,
        subscription_ids: properties.subscription_ids.iter().map(|id| id.get()).collect(),
        properties: Properties {
            content_type: properties.content_type.as_ref().map(text).transpose()?,
            response_topic: properties.response_topic.as_ref().map(text).transpose()?,
            correlation_data: properties.correlation_data.as_ref().map(owned),
            is_utf8_payload: properties.is_utf8_payload,
            user: user(&properties.user_properties)?,
        },
        ..publish
    })
}

fn wire_publish(from: &Publish) -> Result<WirePublish, CodecError> {
    Ok(WirePublish {
        dup: from.dup,
        retain: from.retain,
        qos: wire_qos(from.qos),
        topic: ByteString::from(&*from.topic),
        packet_id: from.id,
        payload: from.payload.clone(),
        properties: Some(v5::PublishProperties {
            topic_alias: from.topic_alias,
            correlation_data: from.properties.correlation_data.clone(),
            message_expiry_interval: wire_expiry(from.expiry_s),
            content_type: wire_text(from.properties.content_type.as_ref()),
            user_properties: wire_user(&from.properties),
            is_utf8_payload: from.properties.is_utf8_payload,
            response_topic: wire_text(from.properties.response_topic.as_ref()),
            subscription_ids: from
                .subscription_ids
                .iter()
                .map(|&id| subscription_id(id))
                .collect::<Result<_, _>>()?,
        }),
    })
}

/// Highest subscription identifier (3.3.2.3.8); the crate panics above it.
const MAX_SUBSCRIPTION_ID: u32 = 268_435_455;

fn subscription_id(id: u32) -> Result<NonZeroU32, CodecError> {
    NonZeroU32::new(id)
        .filter(|id| id.get() <= MAX_SUBSCRIPTION_ID)
        .ok_or(CodecError::Malformed("subscription identifier"))
}

/// What expires now still expires: the crate knows no expiry of 0.
fn wire_expiry(seconds: Option<u32>) -> Option<NonZeroU32> {
    seconds.map(|seconds| NonZeroU32::new(seconds).unwrap_or(NonZeroU32::MIN))
}

fn ack(id: PacketId, code: u8) -> Ack {
    Ack { id, reason: Reason(code) }
}

fn wire_ack(ack: Ack) -> Result<v5::PublishAck, CodecError> {
    Ok(v5::PublishAck { packet_id: ack.id, reason_code: code(ack.reason)?, ..v5::PublishAck::default() })
}

fn wire_ack2(ack: Ack) -> Result<v5::PublishAck2, CodecError> {
    Ok(v5::PublishAck2 { packet_id: ack.id, reason_code: code(ack.reason)?, ..v5::PublishAck2::default() })
}

fn filter((filter, options): &(ByteString, v5::SubscriptionOptions)) -> Result<SubscribeFilter, CodecError> {
    Ok(SubscribeFilter {
        filter: text(filter)?,
        qos: our_qos(options.qos),
        no_local: options.no_local,
        retain_as_published: options.retain_as_published,
        retain_handling: match options.retain_handling {
            v5::RetainHandling::AtSubscribe => RetainHandling::AtSubscribe,
            v5::RetainHandling::AtSubscribeNew => RetainHandling::AtSubscribeNew,
            v5::RetainHandling::NoAtSubscribe => RetainHandling::Never,
        },
    })
}

fn wire_filter(from: &SubscribeFilter) -> (ByteString, v5::SubscriptionOptions) {
    let options = v5::SubscriptionOptions {
        qos: wire_qos(from.qos),
        no_local: from.no_local,
        retain_as_published: from.retain_as_published,
        retain_handling: match from.retain_handling {
            RetainHandling::AtSubscribe => v5::RetainHandling::AtSubscribe,
            RetainHandling::AtSubscribeNew => v5::RetainHandling::AtSubscribeNew,
            RetainHandling::Never => v5::RetainHandling::NoAtSubscribe,
        },
    };
    (ByteString::from(&*from.filter), options)
}

type User = Vec<(Arc<str>, Arc<str>)>;

fn user(from: &[(ByteString, ByteString)]) -> Result<User, CodecError> {
    from.iter().map(|(key, value)| Ok((text(key)?, text(value)?))).collect()
}

fn wire_user(from: &Properties) -> Vec<(ByteString, ByteString)> {
    from.user.iter().map(|(key, value)| (ByteString::from(&**key), ByteString::from(&**value))).collect()
}

fn wire_text(from: Option<&Arc<str>>) -> Option<ByteString> {
    from.map(|text| ByteString::from(&**text))
}

/// The crate's enum for a reason code; each packet type has its own set.
fn code<C: TryFrom<u8>>(reason: Reason) -> Result<C, CodecError> {
    C::try_from(reason.0).map_err(|_| CodecError::Malformed("a reason code that this packet cannot carry"))
}
