<?php

// Which pool answers: the title of the process is "php-fpm: pool www1". fpm_get_status() says it
// too, but it crashes at times while another child starts.

echo preg_replace('/^php-fpm: pool (\w+).*/s', '$1', file_get_contents('/proc/self/cmdline'));
