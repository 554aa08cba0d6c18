#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Times in the local zone.
enum LocalTime {
  /// Seconds since 1970.
  static var now: Int { Int(time(nil)) }

  /// A time by the C library's `strftime`.
  static func text(of time: Int, _ format: String) -> String {
    var seconds = time_t(time)
    var parts = tm()
    guard !format.isEmpty, localtime_r(&seconds, &parts) != nil else { return "" }
    var buffer = [UInt8](repeating: 0, count: 1 << 14)
    let count = buffer.withUnsafeMutableBytes { bytes in
      strftime(bytes.assumingMemoryBound(to: CChar.self).baseAddress, bytes.count, format, &parts)
    }
    return String(decoding: buffer[..<count], as: UTF8.self)
  }
}
