<?php

// Notes what it was sent, and how much of it, so that a test can count how often it was run for that.

$body = file_get_contents('php://input');
[$number, $rest] = explode(' ', $body, 2);
file_put_contents($_GET['list'], "$number " . strlen($rest) . ' ' . md5($rest) . "\n", FILE_APPEND | LOCK_EX);
echo "noted $number\n";
