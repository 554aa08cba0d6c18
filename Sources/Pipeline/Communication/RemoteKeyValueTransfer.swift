import JSON
import Transformers

/// A layer of a cache that another process keeps, open for copying.
final class RemoteKeyValueTransfer: KeyValueTransfer {
  private let client: RankClient
  private let number: Int
  /// Numbers of a position's keys.
  private let rowCount: Int
  private var isOpen = true

  init(_ client: RankClient, number: Int, rowCount: Int) {
    self.client = client
    self.number = number
    self.rowCount = rowCount
  }

  deinit {
    guard isOpen else { return }
    try? client.post(message("drop_transfer"))
  }

  private func message(
    _ kind: String, _ positions: Range<Int>? = nil, numbers: [Float] = []
  ) -> Message {
    var message = Message(
      kind, [("transfer", .integer(number))], bytes: HostNumbers.bytes(of: numbers))
    if let positions {
      message.fields.append(("first", .integer(positions.lowerBound)))
      message.fields.append(("end", .integer(positions.upperBound)))
    }
    return message
  }

  func factors() throws -> [Float] {
    HostNumbers.floats(of: try client.call(message("factors")).bytes)
  }

  func setFactors(_ factors: [Float]) throws {
    _ = try client.call(message("set_factors", numbers: factors))
  }

  func rows(at positions: Range<Int>) throws -> (keys: [Float], values: [Float]) {
    let floats = HostNumbers.floats(of: try client.call(message("rows", positions)).bytes)
    let count = positions.count * rowCount
    guard floats.count == 2 * count else {
      throw PipelineError.malformedMessage(detail: "\(floats.count) numbers of \(2 * count)")
    }
    return (Array(floats[..<count]), Array(floats[count...]))
  }

  func setRows(at positions: Range<Int>, keys: [Float], values: [Float]) throws {
    _ = try client.call(message("set_rows", positions, numbers: keys + values))
  }

  func close() throws {
    isOpen = false
    _ = try client.call(message("close_transfer"))
  }
}

/// The layers of caches that a process has open for copying.
struct OpenTransfers {
  private struct Entry {
    var transfer: any KeyValueTransfer
    /// Called once what was written is kept.
    var onClose: () -> Void
  }

  private var entries: [Int: Entry] = [:]

  /// Opens a layer of a part of a model.
  ///
  /// The first layer that is restored takes back what does not stay, and the last one completes the cache.
  mutating func open(
    _ message: Message, of part: Transformer, _ cache: KeyValueCache
  ) throws {
    let (layer, count) = (try message.int("layer"), try message.int("count"))
    var onClose = {}
    var purpose = KeyValueTransferPurpose.saving
    if let length = message["sequence_length"]?.int {
      purpose = .restoring
      if layer == part.layers.lowerBound {
        let kept = try message.int("kept")
        if kept == 0 { cache.beginRestoring(sequenceLength: length) }
        if kept < cache.count { cache.truncate(to: kept) }
      }
      if layer == part.layers.upperBound - 1 { onClose = { cache.finishRestoring(count: count) } }
    }
    entries[try message.int("transfer")] = Entry(
      transfer: try part.makeTransfer(layer: layer, of: cache, count: count, for: purpose),
      onClose: onClose)
  }

  /// The answer to what is asked of an open layer; nil for messages of another kind.
  mutating func answer(_ message: Message) throws -> Message? {
    let kinds = [
      "factors", "set_factors", "rows", "set_rows", "close_transfer", "drop_transfer",
    ]
    guard kinds.contains(message.kind) else { return nil }
    let number = try message.int("transfer")
    guard let entry = entries[number] else {
      throw TransformerError.foreignCache(detail: "this process has no layer open")
    }
    var reply = Message("reply")
    switch message.kind {
    case "factors": reply.bytes = HostNumbers.bytes(of: try entry.transfer.factors())
    case "set_factors": try entry.transfer.setFactors(HostNumbers.floats(of: message.bytes))
    case "rows":
      let (keys, values) = try entry.transfer.rows(at: Self.positions(message))
      reply.bytes = HostNumbers.bytes(of: keys + values)
    case "set_rows":
      let floats = HostNumbers.floats(of: message.bytes)
      let half = floats.count / 2
      try entry.transfer.setRows(
        at: Self.positions(message), keys: Array(floats[..<half]), values: Array(floats[half...]))
    default:
      entries[number] = nil
      guard message.kind == "close_transfer" else { break }
      try entry.transfer.close()
      entry.onClose()
    }
    return reply
  }

  private static func positions(_ message: Message) throws -> Range<Int> {
    let (first, end) = (try message.int("first"), try message.int("end"))
    guard first >= 0, first <= end else {
      throw PipelineError.malformedMessage(detail: "positions \(first) to \(end)")
    }
    return first..<end
  }
}
