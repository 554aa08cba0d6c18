/// Why a server does not start; each description is one line that says what to do.
public enum ServerError: Error, Sendable, Equatable, CustomStringConvertible {
  case certificate(file: String, reason: String)
  case key(file: String, reason: String)
  /// The system does not let it listen.
  case cannotListen(host: String, port: Int, reason: String)

  public var description: String {
    switch self {
    case .certificate(let file, let reason):
      "\(file): is no certificate chain in PEM form (\(reason)); name the file of the certificate"
    case .key(let file, let reason):
      "\(file): is no private key in PEM form (\(reason)); name the file of the certificate's key"
    case .cannotListen(let host, let port, let reason):
      "\(host):\(port): cannot be listened on (\(reason)); choose another host or port"
    }
  }
}
