// Clients of MQTT.js that do what they are told: the commands are described in
// tests/clients/agent.rs.
'use strict'

const fs = require('node:fs')
const readline = require('node:readline')
const mqtt = require('mqtt')

const PATIENCE_MS = 60000

// Our names of the properties of a message, and those of MQTT.js.
const OF_MESSAGES = {
  format: 'payloadFormatIndicator',
  content_type: 'contentType',
  response_topic: 'responseTopic',
  correlation: 'correlationData',
  expiry: 'messageExpiryInterval',
  alias: 'topicAlias',
  user: 'userProperties',
  delay: 'willDelayInterval'
}
const OF_CONNECTIONS = {
  session_expiry: 'sessionExpiryInterval',
  receive_maximum: 'receiveMaximum',
  maximum_packet_size: 'maximumPacketSize',
  topic_alias_maximum: 'topicAliasMaximum',
  assigned_client_id: 'assignedClientIdentifier'
}

const clients = new Map()

function say (line) {
  process.stdout.write(JSON.stringify(line) + '\n')
}

function payload (order) {
  if ('fill' in order) return 'x'.repeat(order.fill)
  if ('hex' in order) return Buffer.from(order.hex, 'hex')
  return order.payload ?? ''
}

function properties (names, order) {
  const result = {}
  for (const [ours, theirs] of Object.entries(names)) {
    if (!(ours in order)) continue
    let value = order[ours]
    if (ours === 'correlation') value = Buffer.from(value)
    if (ours === 'format') value = Boolean(value)
    if (ours === 'user') {
      const grouped = {}
      for (const [key, one] of value) (grouped[key] ??= []).push(one)
      value = grouped
    }
    result[theirs] = value
  }
  return result
}

function plain (names, found) {
  const result = {}
  for (const [ours, theirs] of Object.entries(names)) {
    if (found?.[theirs] === undefined) continue
    let value = found[theirs]
    if (ours === 'correlation') value = value.toString()
    if (ours === 'format') value = Number(value)
    if (ours === 'user') {
      value = Object.entries(value).flatMap(([key, some]) => [some].flat().map((one) => [key, one]))
    }
    result[ours] = value
  }
  if (found?.subscriptionIdentifier !== undefined) result.ids = [found.subscriptionIdentifier].flat()
  return result
}

function content (bytes) {
  try {
    return { payload: new TextDecoder('utf-8', { fatal: true }).decode(bytes) }
  } catch {
    return { hex: bytes.toString('hex') }
  }
}

function connect (order) {
  const options = {
    protocolVersion: order.version,
    clientId: order.id ?? order.client,
    clean: order.clean ?? true,
    keepalive: order.keep_alive ?? 60,
    reconnectPeriod: order.reconnect ? 1000 : 0,
    connectTimeout: PATIENCE_MS,
    resubscribe: false,
    username: order.username,
    password: order.password
  }
  if (order.version === 5) options.properties = properties(OF_CONNECTIONS, order)
  if (order.ca) options.ca = fs.readFileSync(order.ca)
  if (order.certificate) options.cert = fs.readFileSync(order.certificate)
  if (order.key) options.key = fs.readFileSync(order.key)
  if (order.auto_alias) options.autoAssignTopicAlias = true
  if (order.will) {
    const { topic, qos = 0, retain = false } = order.will
    options.will = { topic, payload: payload(order.will), qos, retain }
    if (order.version === 5) options.will.properties = properties(OF_MESSAGES, order.will)
  }
  const websocket = order.transport === 'websockets'
  const scheme = { 'false,false': 'mqtt', 'false,true': 'mqtts', 'true,false': 'ws', 'true,true': 'wss' }
  const protocol = scheme[[websocket, Boolean(order.ca)]]
  const client = mqtt.connect(`${protocol}://${order.host}:${order.port}${websocket ? '/mqtt' : ''}`, options)
  clients.set(order.client, client)
  client.on('message', (topic, bytes, packet) => {
    const { qos, retain, dup } = packet
    const message = { topic, qos, retain, dup, ...content(bytes), properties: plain(OF_MESSAGES, packet.properties) }
    say({ client: order.client, message })
  })
  client.on('disconnect', (packet) => {
    say({ client: order.client, closed: 'DISCONNECT', reason: packet.reasonCode })
  })
  return new Promise((resolve, reject) => {
    client.once('connect', (packet) => {
      client.on('close', () => say({ client: order.client, closed: 'closed', reason: null }))
      client.on('error', (error) => say({ client: order.client, closed: error.message, reason: error.code }))
      resolve({ present: packet.sessionPresent, ...plain(OF_CONNECTIONS, packet.properties) })
    })
    client.once('error', reject)
    client.once('close', () => reject(new Error('closed')))
  })
}

function subscribe (client, order) {
  const options = { qos: order.qos ?? 0 }
  if (client.options.protocolVersion === 5) {
    options.nl = order.no_local ?? false
    options.rap = order.retain_as_published ?? false
    options.rh = order.retain_handling ?? 0
    if (order.subscription_id) options.properties = { subscriptionIdentifier: order.subscription_id }
  }
  return new Promise((resolve, reject) => {
    client.subscribe(order.filter, options, (error, _granted, packet) => {
      if (packet) resolve({ reasons: packet.granted })
      else reject(error ?? new Error('no SUBACK'))
    })
  })
}

async function unsubscribe (client, order) {
  const packet = await client.unsubscribeAsync(order.filter)
  return { reasons: packet?.granted ?? [] }
}

async function publish (client, order) {
  const { qos = 0, retain = false } = order
  const options = { qos, retain }
  if (client.options.protocolVersion === 5) options.properties = properties(OF_MESSAGES, order)
  const packet = await client.publishAsync(order.topic, payload(order), options)
  return { reason: packet?.reasonCode ?? 0 }
}

async function burst (client, order) {
  const all = []
  for (let n = 0; n < order.count; n++) {
    all.push(client.publishAsync(order.topic, `${order.prefix}${n}`, { qos: order.qos }))
  }
  await Promise.all(all)
  return {}
}

async function disconnect (client, order) {
  await client.endAsync(false, { properties: properties(OF_CONNECTIONS, order) })
  return {}
}

const does = { subscribe, unsubscribe, publish, burst, disconnect }

async function obey (order) {
  try {
    const done = order.do === 'connect' ? connect(order) : does[order.do](clients.get(order.client), order)
    say({ answer: order.order, ok: await done })
  } catch (error) {
    say({ answer: order.order, error: error.message, reason: error.code })
  }
}

readline.createInterface({ input: process.stdin }).on('line', (line) => obey(JSON.parse(line)))
process.stdin.on('end', () => process.exit(0))
