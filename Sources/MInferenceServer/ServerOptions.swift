/// How a server is reached, and how much it takes.
public struct ServerOptions: Sendable {
  public var host: String
  /// 0 takes a free port.
  public var port: Int
  /// Keys of which a request has to name one; empty: none is asked for.
  public var keys: [String]
  /// Origins that browsers may call from; `*` stands for all; empty: none but the server's own.
  public var origins: [String]
  /// PEM files; nil: no TLS.
  public var tls: TLSFiles?
  /// Bytes of a request's body at most.
  public var bodyBytes: Int
  /// Tokens of a prompt at most; nil: what the model's context allows.
  public var promptTokens: Int?
  /// Requests that are worked on or wait at once, over all connections.
  public var concurrentRequests: Int
  /// Seconds between two signs of life while a prompt is read.
  public var heartbeatSeconds: Double
  /// Seconds that running answers have to end when the server stops. Writing prefixes to disk has as many more, and
  /// at least 10.
  public var stopSeconds: Double

  /// A certificate chain and its private key.
  public struct TLSFiles: Sendable {
    public var certificates: String
    public var key: String

    public init(certificates: String, key: String) {
      self.certificates = certificates
      self.key = key
    }
  }

  public init(
    host: String = "127.0.0.1", port: Int = 8080, keys: [String] = [], origins: [String] = [],
    tls: TLSFiles? = nil, bodyBytes: Int = 64 << 20, promptTokens: Int? = nil,
    concurrentRequests: Int = 512, heartbeatSeconds: Double = 10, stopSeconds: Double = 30
  ) {
    self.host = host
    self.port = port
    self.keys = keys
    self.origins = origins
    self.tls = tls
    self.bodyBytes = bodyBytes
    self.promptTokens = promptTokens
    self.concurrentRequests = concurrentRequests
    self.heartbeatSeconds = heartbeatSeconds
    self.stopSeconds = stopSeconds
  }
}
