//! Our packets and the codec crate's, for MQTT 3.1.1.

use std::sync::Arc;

use bytestring::ByteString;
use rmqtt_codec::types::{Protocol, Publish as WirePublish, QoS};
use rmqtt_codec::v3::{self, ConnectAckReason, SubscribeReturnCode};

use super::{CodecError, owned, text};
use crate::mqtt::packet::{
    Ack, ConnAck, Connect, Disconnect, Packet, Publish, Qos, Reason, RetainHandling, Subscribe,
    SubscribeFilter, Version, Will,
};

/// What the crate decoded, as our packet.
pub(super) fn decoded(packet: v3::Packet) -> Result<Packet, CodecError> {
    Ok(match packet {
        v3::Packet::Connect(from) => Packet::Connect(Box::new(connect(&from)?)),
        v3::Packet::ConnectAck(from) => {
            let reason = reason(from.return_code);
            Packet::ConnAck(Box::new(ConnAck::new(reason, from.session_present && !reason.is_failure())))
        }
        v3::Packet::Publish(from) => Packet::Publish(Box::new(Publish {
            dup: from.dup,
            id: from.packet_id,
            ..message(from.qos, from.retain, &from.topic, &from.payload)?
        })),
        v3::Packet::PublishAck { packet_id } => Packet::PubAck(Ack::ok(packet_id)),
        v3::Packet::PublishReceived { packet_id } => Packet::PubRec(Ack::ok(packet_id)),
        v3::Packet::PublishRelease { packet_id } => Packet::PubRel(Ack::ok(packet_id)),
        v3::Packet::PublishComplete { packet_id } => Packet::PubComp(Ack::ok(packet_id)),
        v3::Packet::Subscribe { packet_id, topic_filters } => Packet::Subscribe(Subscribe {
            id: packet_id,
            filters: topic_filters.iter().map(filter).collect::<Result<_, _>>()?,
            subscription_id: None,
        }),
        v3::Packet::SubscribeAck { packet_id, status } => {
            let reasons = status.iter().map(|code| match code {
                SubscribeReturnCode::Success(qos) => Reason(qos.value()),
                SubscribeReturnCode::Failure => Reason::FAILED,
            });
            Packet::SubAck(packet_id, reasons.collect())
        }
        v3::Packet::Unsubscribe { packet_id, topic_filters } => {
            let filters: Result<Vec<Arc<str>>, _> = topic_filters.iter().map(text).collect();
            Packet::Unsubscribe(packet_id, filters?)
        }
        v3::Packet::UnsubscribeAck { packet_id } => Packet::UnsubAck(packet_id, Vec::new()),
        v3::Packet::PingRequest => Packet::PingReq,
        v3::Packet::PingResponse => Packet::PingResp,
        v3::Packet::Disconnect => Packet::Disconnect(Disconnect::new(Reason::SUCCESS)),
    })
}

/// Our packet, as the crate encodes it.
pub(super) fn encoded(packet: &Packet) -> Result<v3::Packet, CodecError> {
    Ok(match packet {
        Packet::Connect(from) => v3::Packet::Connect(Box::new(wire_connect(from)?)),
        Packet::ConnAck(from) => v3::Packet::ConnectAck(v3::ConnectAck {
            return_code: return_code(from.reason),
            session_present: from.session_present && !from.reason.is_failure(),
        }),
        Packet::Publish(from) => v3::Packet::Publish(Box::new(WirePublish {
            dup: from.dup,
            retain: from.retain,
            qos: wire_qos(from.qos),
            topic: ByteString::from(&*from.topic),
            packet_id: from.id,
            payload: from.payload.clone(),
            properties: None,
        })),
        Packet::PubAck(ack) => v3::Packet::PublishAck { packet_id: ack.id },
        Packet::PubRec(ack) => v3::Packet::PublishReceived { packet_id: ack.id },
        Packet::PubRel(ack) => v3::Packet::PublishRelease { packet_id: ack.id },
        Packet::PubComp(ack) => v3::Packet::PublishComplete { packet_id: ack.id },
        Packet::Subscribe(from) => v3::Packet::Subscribe {
            packet_id: from.id,
            topic_filters: from
                .filters
                .iter()
                .map(|entry| (ByteString::from(&*entry.filter), wire_qos(entry.qos)))
                .collect(),
        },
        Packet::SubAck(id, reasons) => {
            let status = reasons.iter().map(|reason| match reason.0 {
                granted @ 0..=2 => SubscribeReturnCode::Success(wire_qos(Qos::from(granted))),
                _ => SubscribeReturnCode::Failure,
            });
            v3::Packet::SubscribeAck { packet_id: *id, status: status.collect() }
        }
        Packet::Unsubscribe(id, filters) => v3::Packet::Unsubscribe {
            packet_id: *id,
            topic_filters: filters.iter().map(|filter| ByteString::from(&**filter)).collect(),
        },
        Packet::UnsubAck(id, _) => v3::Packet::UnsubscribeAck { packet_id: *id },
        Packet::PingReq => v3::Packet::PingRequest,
        Packet::PingResp => v3::Packet::PingResponse,
        Packet::Disconnect(_) => v3::Packet::Disconnect,
        Packet::Auth => return Err(CodecError::Authentication),
    })
}

fn connect(from: &v3::Connect) -> Result<Connect, CodecError> {
    let will = match &from.last_will {
        Some(will) => {
            Some(Will { message: message(will.qos, will.retain, &will.topic, &will.message)?, delay_s: 0 })
        }
        None => None,
    };
    Ok(Connect {
        version: Version::V3,
        client_id: text(&from.client_id)?,
        clean_start: from.clean_session,
        keep_alive_s: from.keep_alive,
        session_expiry_s: if from.clean_session { 0 } else { u32::MAX },
        receive_maximum: u16::MAX,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        username: from.username.as_ref().map(text).transpose()?,
        password: from.password.as_ref().map(owned),
        will,
    })
}

fn wire_connect(from: &Connect) -> Result<v3::Connect, CodecError> {
    if from.username.is_none() && from.password.is_some() {
        return Err(CodecError::Malformed("a password without user name"));
    }
    let last_will = from.will.as_ref().map(|will| v3::LastWill {
        qos: wire_qos(will.message.qos),
        retain: will.message.retain,
        topic: ByteString::from(&*will.message.topic),
        message: will.message.payload.clone(),
    });
    Ok(v3::Connect {
        protocol: Protocol::default(),
        clean_session: from.clean_start,
        keep_alive: from.keep_alive_s,
        last_will,
        client_id: ByteString::from(&*from.client_id),
        username: from.username.as_deref().map(ByteString::from),
        password: from.password.clone(),
        cert: None,
    })
}

fn message(
    qos: QoS,
    retain: bool,
    topic: &ByteString,
    payload: &bytes::Bytes,
) -> Result<Publish, CodecError> {
    Ok(Publish::new(text(topic)?, owned(payload), our_qos(qos), retain))
}

fn filter((filter, qos): &(ByteString, QoS)) -> Result<SubscribeFilter, CodecError> {
    Ok(SubscribeFilter {
        filter: text(filter)?,
        qos: our_qos(*qos),
        no_local: false,
        retain_as_published: false,
        retain_handling: RetainHandling::AtSubscribe,
    })
}

/// The reason code for a return code of CONNACK (3.1.1, 3.2.2.3).
fn reason(code: ConnectAckReason) -> Reason {
    match code {
        ConnectAckReason::ConnectionAccepted => Reason::SUCCESS,
        ConnectAckReason::UnacceptableProtocolVersion => Reason::UNSUPPORTED_VERSION,
        ConnectAckReason::IdentifierRejected => Reason::CLIENT_ID,
        ConnectAckReason::ServiceUnavailable => Reason::BUSY,
        ConnectAckReason::BadUserNameOrPassword => Reason::BAD_LOGIN,
        ConnectAckReason::NotAuthorized => Reason::NOT_AUTHORIZED,
        ConnectAckReason::Reserved => Reason::FAILED,
    }
}

/// The return code of CONNACK for a reason code. What 3.1.1 has no word for is "server
/// unavailable": try again later.
fn return_code(reason: Reason) -> ConnectAckReason {
    match reason {
        Reason::UNSUPPORTED_VERSION => ConnectAckReason::UnacceptableProtocolVersion,
        Reason::CLIENT_ID => ConnectAckReason::IdentifierRejected,
        Reason::BAD_LOGIN => ConnectAckReason::BadUserNameOrPassword,
        Reason::NOT_AUTHORIZED => ConnectAckReason::NotAuthorized,
        reason if reason.is_failure() => ConnectAckReason::ServiceUnavailable,
        _ => ConnectAckReason::ConnectionAccepted,
    }
}

pub(super) fn our_qos(qos: QoS) -> Qos {
    Qos::from(qos.value())
}

pub(super) fn wire_qos(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
        Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}
