import HTTPTypes
import Hummingbird
import JSON
import MInference
import NIOCore

/// An endpoint's words for an answer.
protocol AnswerFormat: Sendable {
  /// Text before the first piece, of a stream.
  mutating func begin() -> String
  /// What a piece is in the stream; empty if nothing.
  mutating func text(of piece: OutputPiece) -> String
  /// What an error after the stream's beginning is in it.
  mutating func text(of error: APIError) -> String
  /// The text after the last piece.
  mutating func finish() -> String
  /// The whole answer, where it is not streamed.
  func json(_ output: CollectedOutput) -> JSONValue
  /// A sign of life in the stream.
  var heartbeat: String { get }
  /// The stream's media type.
  var streamType: String { get }
}

extension AnswerFormat {
  mutating func begin() -> String { "" }
  mutating func finish() -> String { "" }
  var heartbeat: String { ": reading\n\n" }
  var streamType: String { "text/event-stream; charset=utf-8" }
}

/// Server-sent events.
enum ServerSentEvent {
  static func data(_ value: JSONValue) -> String { "data: \(value.serialized(.compact))\n\n" }

  static func event(_ name: String, _ value: JSONValue) -> String {
    "event: \(name)\ndata: \(value.serialized(.compact))\n\n"
  }
}

/// Sends an answer as it is made, or as a whole.
struct AnswerResponse {
  let answer: AnswerStream
  let parser: OutputParser
  let heartbeatSeconds: Double
  let context: ServerContext

  /// What the loop that writes waits for.
  private enum Item: Sendable {
    case event(AnswerEvent)
    case heartbeat
    case failed(any Error)
  }

  /// Events of the engine with signs of life among them. Ends when the client goes.
  private func items() -> AsyncStream<Item> {
    let (stream, continuation) = AsyncStream<Item>.makeStream()
    let answer = answer
    let interval = heartbeatSeconds
    let reading = Task {
      do {
        for try await event in answer { continuation.yield(.event(event)) }
      } catch {
        continuation.yield(.failed(error))
      }
      continuation.finish()
    }
    let ticking = Task {
      while !Task.isCancelled {
        try await Task.sleep(for: .seconds(interval))
        continuation.yield(.heartbeat)
      }
    }
    continuation.onTermination = { _ in
      reading.cancel()
      ticking.cancel()
    }
    context.whenClosed {
      reading.cancel()
      ticking.cancel()
      continuation.finish()
    }
    return stream
  }

  private static func headers(of format: some AnswerFormat) -> HTTPFields {
    var headers: HTTPFields = [.contentType: format.streamType, .cacheControl: "no-cache"]
    // nginx would hold the stream back.
    if let name = HTTPField.Name("X-Accel-Buffering") { headers[name] = "no" }
    return headers
  }

  /// Status and headers go out at once.
  func streamed(_ format: some AnswerFormat) -> Response {
    let items = items()
    let parser = parser
    return Response(
      status: .ok,
      headers: Self.headers(of: format),
      body: ResponseBody { writer in
        var format = format
        var parser = parser
        func send(_ text: String) async throws {
          if !text.isEmpty { try await writer.write(ByteBuffer(string: text)) }
        }
        try await send(format.begin())
        for await item in items {
          switch item {
          case .heartbeat: try await send(format.heartbeat)
          case .failed(let error): try await send(format.text(of: APIError(error)))
          case .event(let event):
            var text = ""
            for piece in parser.take(event) { text += format.text(of: piece) }
            try await send(text)
          }
        }
        try await send(format.finish())
        try await writer.finish(nil)
      })
  }

  /// The whole answer as one JSON object. If it takes longer than the interval of the signs of life, the
  /// status goes out and blank space follows, which JSON allows in front of a value; an error then comes
  /// with status 200.
  func whole(_ format: some AnswerFormat) async throws -> Response {
    var parser = parser
    var output = CollectedOutput()
    var iterator = items().makeAsyncIterator()
    while let item = await iterator.next() {
      switch item {
      case .failed(let error): throw error
      case .event(let event): parser.take(event).forEach { output.add($0) }
      case .heartbeat: return rest(iterator, parser, output, format)
      }
    }
    guard output.end != nil else { throw CancellationError() }
    return Response(format.json(output))
  }

  private func rest(
    _ iterator: sending AsyncStream<Item>.Iterator, _ parser: OutputParser,
    _ output: CollectedOutput, _ format: some AnswerFormat
  ) -> Response {
    let remaining = Remaining(iterator)
    return Response(
      status: .ok, headers: [.contentType: "application/json"],
      body: ResponseBody { writer in
        var parser = parser
        var output = output
        var iterator = remaining.iterator
        var value: JSONValue?
        try await writer.write(ByteBuffer(string: " "))
        while let item = await iterator.next() {
          switch item {
          case .failed(let error): value = APIError(error).json
          case .event(let event): parser.take(event).forEach { output.add($0) }
          case .heartbeat: try await writer.write(ByteBuffer(string: " "))
          }
        }
        let text = (value ?? format.json(output)).serialized(.compact)
        try await writer.write(ByteBuffer(string: text))
        try await writer.finish(nil)
      })
  }

  /// An iterator that one task hands to another and does not use again.
  private struct Remaining: @unchecked Sendable {
    let iterator: AsyncStream<Item>.Iterator

    init(_ iterator: AsyncStream<Item>.Iterator) { self.iterator = iterator }
  }
}
