<?php
// An HTTP server that shares its port with other processes: php server.php PORT
$release = trim(file_get_contents('release.txt'));
$options = ['socket' => ['so_reuseport' => true, 'backlog' => 511]];
$flags = STREAM_SERVER_BIND | STREAM_SERVER_LISTEN;
$address = "tcp://127.0.0.1:{$argv[1]}";
$server = stream_socket_server($address, $code, $why, $flags, stream_context_create($options));
$server !== false or exit(1);
while (true) {
    $client = @stream_socket_accept($server, -1);
    if ($client === false) {
        continue;
    }
    $head = '';
    while (!str_contains($head, "\r\n\r\n") && ($read = fread($client, 8192)) !== '' && $read !== false) {
        $head .= $read;
    }
    if (str_contains($head, "\r\n\r\n")) {
        $body = str_starts_with($head, 'GET /pid ') ? (string) getmypid() : $release;
        $length = strlen($body);
        fwrite($client, "HTTP/1.1 200 OK\r\nContent-Length: $length\r\nConnection: close\r\n\r\n$body");
    }
    fclose($client);
}
