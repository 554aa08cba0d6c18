import JSON
import MInference

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A client on plain sockets, of loopback alone.
struct TestClient: Sendable {
  let port: Int

  struct Reply: Sendable {
    var status = 0
    /// Names in lower case.
    var headers: [String: String] = [:]
    var body = ""

    var json: JSONValue? { try? JSONValue(parsing: Array(body.utf8)) }

    /// The objects of a stream of server-sent events, and whether it ends as OpenAI's do.
    var events: [JSONValue] {
      body.split(separator: "\n").filter { $0.hasPrefix("data: ") && $0 != "data: [DONE]" }
        .compactMap { try? JSONValue(parsing: Array($0.dropFirst(6).utf8)) }
    }
  }

  struct Failure: Error {}

  func get(_ path: String, headers: [String: String] = [:]) async throws -> Reply {
    try await send("GET", path, body: nil, headers: headers)
  }

  func post(
    _ path: String, _ body: String, headers: [String: String] = [:]
  ) async throws -> Reply {
    try await send("POST", path, body: body, headers: headers)
  }

  func send(
    _ method: String, _ path: String, body: String?, headers: [String: String] = [:]
  ) async throws -> Reply {
    try await WorkerThread.run {
      let descriptor = try connect(request(method, path, body, headers))
      defer { close(descriptor) }
      return try Self.parse(try Self.readToEnd(descriptor))
    }
  }

  /// Sends a request and goes away after so many bytes of its answer.
  func abandon(_ path: String, _ body: String, after count: Int) async throws {
    try await WorkerThread.run {
      let descriptor = try connect(request("POST", path, body, [:]))
      defer { close(descriptor) }
      var buffer = [UInt8](repeating: 0, count: max(1, count))
      var rest = count
      while rest > 0 {
        let received = recv(descriptor, &buffer, rest, 0)
        guard received > 0 else { return }
        rest -= received
      }
    }
  }

  private func request(
    _ method: String, _ path: String, _ body: String?, _ headers: [String: String]
  ) -> [UInt8] {
    var lines = ["\(method) \(path) HTTP/1.1", "host: 127.0.0.1", "connection: close"]
    lines += headers.map { "\($0.key): \($0.value)" }
    if let body {
      lines += ["content-type: application/json", "content-length: \(body.utf8.count)"]
    }
    return Array((lines.joined(separator: "\r\n") + "\r\n\r\n" + (body ?? "")).utf8)
  }

  private func connect(_ request: [UInt8]) throws -> Int32 {
    #if canImport(Glibc)
      let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    #else
      let descriptor = socket(AF_INET, SOCK_STREAM, 0)
    #endif
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let status = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        #if canImport(Glibc)
          Glibc.connect(descriptor, $0, size)
        #elseif canImport(Musl)
          Musl.connect(descriptor, $0, size)
        #else
          Darwin.connect(descriptor, $0, size)
        #endif
      }
    }
    guard status == 0 else {
      close(descriptor)
      throw Failure()
    }
    var sent = 0
    while sent < request.count {
      let count = request[sent...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
      // A server that refuses a body closes before it has all of it; its answer is there.
      guard count > 0 else { break }
      sent += count
    }
    return descriptor
  }

  private static func readToEnd(_ descriptor: Int32) throws -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = recv(descriptor, &buffer, buffer.count, 0)
      guard count > 0 else { return bytes }
      bytes += buffer[..<count]
    }
  }

  private static func parse(_ bytes: [UInt8]) throws -> Reply {
    let end = Array("\r\n\r\n".utf8)
    guard let split = bytes.indices.first(where: { bytes[$0...].starts(with: end) }) else {
      throw Failure()
    }
    var reply = Reply()
    let head = String(decoding: bytes[..<split], as: UTF8.self).split(separator: "\r\n")
    reply.status = head.first.flatMap { Int($0.split(separator: " ")[1]) } ?? 0
    for line in head.dropFirst() {
      guard let colon = line.firstIndex(of: ":") else { continue }
      reply.headers[line[..<colon].lowercased()] = String(line[line.index(colon, offsetBy: 2)...])
    }
    let body = Array(bytes[(split + 4)...])
    reply.body = String(
      decoding: reply.headers["transfer-encoding"] == "chunked" ? unchunked(body) : body,
      as: UTF8.self)
    return reply
  }

  private static func unchunked(_ bytes: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    var index = 0
    while index < bytes.count {
      var size = 0
      while index < bytes.count, bytes[index] != 13 {
        size = size * 16 + (Int(String(UnicodeScalar(bytes[index])), radix: 16) ?? 0)
        index += 1
      }
      index += 2
      guard size > 0, index + size <= bytes.count else { break }
      result += bytes[index..<index + size]
      index += size + 2
    }
    return result
  }
}
