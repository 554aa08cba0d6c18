import CWebPage
import Hummingbird
import NIOCore

/// The page at /, whose files are part of the program.
enum Page {
  /// A file of the page; nil if there is none of this name.
  static func file(named name: String) -> Response? {
    var index = 0
    while true {
      let file = web_page_file_at(index)
      guard let known = file.name, let bytes = file.bytes else { return nil }
      if String(cString: known) == name {
        let contents = UnsafeBufferPointer(start: bytes, count: file.length)
        return Response(
          status: .ok,
          headers: [
            .contentType: type(of: name), .cacheControl: "no-cache",
            // The page needs nothing from elsewhere.
            .contentSecurityPolicy: "default-src 'self'; img-src data:; frame-ancestors 'none'",
            .xContentTypeOptions: "nosniff",
          ],
          body: ResponseBody(byteBuffer: ByteBuffer(bytes: contents)))
      }
      index += 1
    }
  }

  private static func type(of name: String) -> String {
    if name.hasSuffix(".css") { return "text/css; charset=utf-8" }
    if name.hasSuffix(".js") { return "text/javascript; charset=utf-8" }
    if name.hasSuffix(".json") { return "application/json" }
    return "text/html; charset=utf-8"
  }
}
